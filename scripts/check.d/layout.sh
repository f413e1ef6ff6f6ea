# Checks that no other tool makes: comment lines that rustfmt leaves too long, long and broken lines of documents, and
# stray files at the root of the repository.
# shellcheck shell=bash

# The files and folders at the root. A new one is added here on purpose.
root_entries='.ci .gitignore ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md Cargo.lock Cargo.toml LICENSE-APACHE
LICENSE-MIT README.md SECURITY.md benches clippy.toml deploy docs examples fixtures fuzz justfile migrations models
rustfmt.toml scripts src tests web'

# Prints `FILE:LINE` for each comment line over 100 columns.
long_comments() {
  git ls-files -z '*.rs' | LC_ALL=C.UTF-8 xargs -0 grep -nE '^ *//' |
    LC_ALL=C.UTF-8 grep -E '^[^:]+:[0-9]+:.{101,}$' | cut -d: -f1,2
}

# The documents that people read.
documents=(README.md ARCHITECTURE.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs/*.md docs/adr/*.md)

# Prints `FILE:LINE` for each line over 100 columns of the documents, outside tables and code.
long_prose() {
  local file
  for file in "${documents[@]}"; do
    sed '/^ *```/,/^ *```/s/.*//' "$file" | LC_ALL=C.UTF-8 grep -nE '^[^|!].{100,}$' |
      sed "s|^|$file:|" | cut -d: -f1,2
  done
}

# Prints `FILE:LINE` for each line that wrapping made the first item of a list: a number behind a line of text.
broken_sentences() {
  awk 'FNR == 1 { before = "" }
    /^[0-9]+\. / && before ~ /[a-z,]$/ { print FILENAME ":" FNR }
    { before = $0 }' "${documents[@]}"
}

# Prints the tracked entries of the root that are not in the list.
stray_entries() {
  git ls-files | cut -d/ -f1 | sort -u | grep -vxF "$(tr ' ' '\n' <<<"$root_entries")"
}

check_layout() {
  local found
  # grep fails when it finds nothing, which is what is hoped for.
  found=$(long_comments) || true
  if [[ $found ]]; then
    printf 'comment lines over 100 columns:\n%s\n' "$found" >&2
    return 1
  fi
  found=$(long_prose) || true
  if [[ $found ]]; then
    printf 'lines of documents over 100 columns:\n%s\n' "$found" >&2
    return 1
  fi
  found=$(broken_sentences)
  if [[ $found ]]; then
    printf 'lines that read as items of a list, in the middle of a sentence:\n%s\n' "$found" >&2
    return 1
  fi
  found=$(wc -l <README.md)
  if ((found >= 100)); then
    printf 'README.md has %s lines; it has under 100\n' "$found" >&2
    return 1
  fi
  found=$(stray_entries) || true
  if [[ $found ]]; then
    printf 'files at the root that are not in scripts/check.d/layout.sh:\n%s\n' "$found" >&2
    return 1
  fi
}
