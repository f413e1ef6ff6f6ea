# What no other tool checks: comment lines that rustfmt leaves too long, and files that stray into the
# root of the repository.
# shellcheck shell=bash

# The files and folders at the root. A new one is added here on purpose.
root_entries='.ci .gitignore ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md Cargo.lock Cargo.toml LICENSE-APACHE
LICENSE-MIT README.md SECURITY.md benches clippy.toml deploy docs examples fixtures justfile migrations rustfmt.toml
scripts src tests web'

# Prints `FILE:LINE` for each comment line over 100 columns.
long_comments() {
  git ls-files -z '*.rs' | LC_ALL=C.UTF-8 xargs -0 grep -nE '^ *//.{99,}$' |
    LC_ALL=C.UTF-8 grep -E '^[^:]+:[0-9]+:.{101,}$' | cut -d: -f1,2
}

# Prints the tracked entries of the root that are not in the list.
stray_entries() {
  git ls-files | cut -d/ -f1 | sort -u | grep -vxF "$(tr ' ' '\n' <<<"$root_entries")"
}

check_layout() {
  local found
  found=$(long_comments) && {
    printf 'comment lines over 100 columns:\n%s\n' "$found" >&2
    return 1
  }
  found=$(stray_entries) && {
    printf 'files at the root that are not in scripts/check.d/layout.sh:\n%s\n' "$found" >&2
    return 1
  }
  return 0
}
