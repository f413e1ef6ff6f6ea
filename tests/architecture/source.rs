//! The crate's files, with comments, literals and test code blanked out.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// One file of the crate.
#[derive(Debug)]
pub(crate) struct Source {
    /// Below `src/`, with `/`.
    pub(crate) path: String,
    pub(crate) module: Vec<String>,
    /// What the compiler sees outside of tests; blanked text keeps its line ends.
    pub(crate) code: String,
    /// Lines that are not test code.
    pub(crate) lines: usize,
}

/// All files, those of test modules left out.
#[derive(Debug)]
pub(crate) struct Tree {
    sources: Vec<Source>,
    modules: BTreeSet<Vec<String>>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Self {
        let mut texts = Vec::new();
        collect(root, root, &mut texts);
        texts.sort();
        Self::from_texts(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
    }

    pub(crate) fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = Vec::new();
        let mut test_modules = Vec::new();
        for (path, text) in texts {
            let module = module_of(path);
            let mut code = blank_text(text);
            let (ranges, names) = find_tests(&code);
            test_modules.extend(names.into_iter().map(|name| [&module[..], &[name]].concat()));
            let test_lines: usize = ranges.iter().map(|r| code[r.clone()].lines().count()).sum();
            for range in ranges {
                let blank = blanked(&code[range.clone()]);
                code.replace_range(range, &blank);
            }
            let lines = text.lines().count() - test_lines;
            sources.push(Source { path: path.to_owned(), module, code, lines });
        }
        sources.retain(|source| !test_modules.iter().any(|test| source.module.starts_with(test)));
        // Test modules beside their file, brought in by `#[path]`.
        sources.retain(|source| !source.path.ends_with("_tests.rs"));
        let modules = sources.iter().map(|source| source.module.clone()).collect();
        Self { sources, modules }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    pub(crate) fn has_module(&self, module: &[String]) -> bool {
        self.modules.contains(module)
    }
}

fn collect(root: &Path, folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("src can be read") {
        let path = entry.expect("src can be read").path();
        if path.is_dir() {
            collect(root, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).expect("found below it").to_string_lossy();
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            texts.push((name.replace('\\', "/"), text));
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    stem.split('/').filter(|part| *part != "lib").map(str::to_owned).collect()
}

fn blanked(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

/// Blanks comments, strings and characters, so that what is left can be searched and counted.
fn blank_text(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = literal_length(rest, code.chars().next_back());
        if length > 0 {
            code.push_str(&blanked(&rest[..length]));
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with; 0 if it begins with code.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !in_word);
    if let Some(raw) = raw {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = rest.len() - raw.len() + hashes + 1;
            return rest[body..].find(&end).map_or(rest.len(), |at| body + at + end.len());
        }
    }
    let mut after_quote = rest.strip_prefix('\'').unwrap_or_default().chars();
    match (after_quote.next(), after_quote.next()) {
        (Some('\\'), _) => quoted_length(rest, '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        // A lifetime, or no quote at all.
        _ => 0,
    }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// What `#[cfg(test)]` stands before: the places of the items, and the modules in files of their own.
fn find_tests(code: &str) -> (Vec<Range<usize>>, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let (mut ranges, mut names) = (Vec::<Range<usize>>::new(), Vec::new());
    for (start, _) in code.match_indices(MARK) {
        if ranges.last().is_some_and(|last| last.contains(&start)) {
            continue;
        }
        let item = &code[start + MARK.len()..];
        let length = item_length(item);
        ranges.push(start..start + MARK.len() + length);
        let mut words = item[..length].split_whitespace().skip_while(|word| *word != "mod");
        if let Some(name) = words.nth(1).and_then(|word| word.strip_suffix(';')) {
            names.push(name.to_owned());
        }
    }
    (ranges, names)
}

/// Up to the `;` or the closing brace that ends the item.
fn item_length(item: &str) -> usize {
    let is_use = item.split_whitespace().find(|word| !word.starts_with("pub")) == Some("use");
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if c == '}' && depth == 0 && !is_use {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    item.len()
}
