//! The crate's files as `syn` reads them, test code left out.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use proc_macro2::{TokenStream, TokenTree};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::Visit;
use syn::{Attribute, Item, ItemUse, Token, UseTree};

/// One file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Below `src/`, with `/`.
    pub(crate) path: String,
    pub(crate) module: Vec<String>,
    /// Lines that are not test code.
    pub(crate) lines: usize,
    /// Paths in the code that start at the crate's root.
    imports: BTreeSet<Vec<String>>,
    /// First segments of paths that start at another crate, or at a neighbour.
    outside: BTreeSet<String>,
}

impl Source {
    /// The first folder below `src/`, or `bin/NAME`.
    pub(crate) fn part(&self) -> String {
        if self.module.first().is_some_and(|part| part == "bin") {
            return self.module.join("/");
        }
        self.module.first().cloned().unwrap_or_default()
    }

    pub(crate) fn imports(&self) -> &BTreeSet<Vec<String>> {
        &self.imports
    }

    pub(crate) fn uses_crate(&self, name: &str) -> bool {
        self.outside.contains(name)
    }
}

/// All files, those of test modules left out.
#[derive(Debug)]
pub(crate) struct Tree {
    sources: Vec<Source>,
    modules: BTreeSet<Vec<String>>,
}

impl Tree {
    /// Reads this crate once per test run.
    pub(crate) fn of_this_crate() -> &'static Self {
        static TREE: LazyLock<Tree> = LazyLock::new(|| {
            let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
            let mut texts = Vec::new();
            collect_files(&root, &root, &mut texts);
            texts.sort();
            Tree::from_texts(texts.iter().map(|(path, text)| (path.as_str(), text.as_str())))
        });
        &TREE
    }

    pub(crate) fn from_texts<'a>(texts: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut sources = Vec::new();
        let mut test_modules = Vec::new();
        for (path, text) in texts {
            let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
            let module = module_of(path);
            let mut reader = Reader::new(module.clone());
            reader.read_items(&file.items);
            test_modules.append(&mut reader.test_modules);
            sources.push(Source {
                path: path.to_owned(),
                lines: text.lines().count() - reader.test_lines,
                imports: reader.imports,
                outside: reader.outside.difference(&reader.own_modules).cloned().collect(),
                module,
            });
        }
        sources.retain(|source| !test_modules.iter().any(|test| source.module.starts_with(test)));
        let modules = sources.iter().map(|source| source.module.clone()).collect();
        Self { sources, modules }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter()
    }

    /// Returns the module that an import leads to: its longest beginning that is a file.
    pub(crate) fn module_of<'a>(&self, import: &'a [String]) -> Option<&'a [String]> {
        let lengths = (1..=import.len()).rev();
        lengths.map(|length| &import[..length]).find(|module| self.modules.contains(*module))
    }
}

fn collect_files(root: &Path, folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry of the crate").path();
        if path.is_dir() {
            collect_files(root, &path, texts);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let below = path.strip_prefix(root).expect("a path below the root");
            let text = fs::read_to_string(&path).expect("a source file");
            texts.push((below.to_string_lossy().into_owned(), text));
        }
    }
}

fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_end_matches(".rs").trim_end_matches("/mod");
    if stem == "lib" { Vec::new() } else { stem.split('/').map(str::to_owned).collect() }
}

/// Collects the paths of one file.
struct Reader {
    module: Vec<String>,
    imports: BTreeSet<Vec<String>>,
    outside: BTreeSet<String>,
    own_modules: BTreeSet<String>,
    test_modules: Vec<Vec<String>>,
    test_lines: usize,
}

impl Reader {
    fn new(module: Vec<String>) -> Self {
        Self {
            module,
            imports: BTreeSet::new(),
            outside: BTreeSet::new(),
            own_modules: BTreeSet::new(),
            test_modules: Vec::new(),
            test_lines: 0,
        }
    }

    fn read_items(&mut self, items: &[Item]) {
        items.iter().for_each(|item| self.visit_item(item));
    }

    /// Takes a path as it is written.
    fn add(&mut self, path: &[String]) {
        let Some(first) = path.first() else { return };
        let supers = path.iter().take_while(|segment| *segment == "super").count();
        let resolved = match first.as_str() {
            "crate" | "live_comments" => path[1..].to_vec(),
            "self" => [&self.module, &path[1..]].concat(),
            "super" if supers <= self.module.len() => {
                [&self.module[..self.module.len() - supers], &path[supers..]].concat()
            }
            _ => {
                self.outside.insert(first.clone());
                return;
            }
        };
        if !resolved.is_empty() {
            self.imports.insert(resolved);
        }
    }

    fn add_use(&mut self, tree: &UseTree, path: &mut Vec<String>) {
        match tree {
            UseTree::Path(node) => {
                path.push(node.ident.to_string());
                self.add_use(&node.tree, path);
                path.pop();
            }
            UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.add_use(item, path));
            }
            UseTree::Name(_) | UseTree::Rename(_) | UseTree::Glob(_) => {
                let name = match tree {
                    UseTree::Name(name) => Some(name.ident.to_string()),
                    UseTree::Rename(name) => Some(name.ident.to_string()),
                    _ => None,
                };
                let whole: Vec<_> = path.iter().cloned().chain(name).collect();
                self.add(&whole);
            }
        }
    }

    /// Finds paths among the tokens of a macro, which `syn` does not parse.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if colons == 2 || path.is_empty() => {
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Ident(ident) => {
                    self.add_token_path(&path);
                    path = vec![ident.to_string()];
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' && !path.is_empty() => {
                    colons += 1;
                }
                other => {
                    self.add_token_path(&path);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.add_tokens(group.stream());
                    }
                }
            }
        }
        self.add_token_path(&path);
    }

    /// A single word among tokens is a variable or a field, not a path.
    fn add_token_path(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.add(path);
        }
    }
}

impl Visit<'_> for Reader {
    fn visit_item(&mut self, item: &Item) {
        if is_test(attributes(item)) {
            let span = item.span();
            self.test_lines += span.end().line - span.start().line + 1;
            if let Item::Mod(module) = item {
                self.test_modules.push([&self.module[..], &[module.ident.to_string()]].concat());
            }
            return;
        }
        if let Item::Mod(module) = item {
            self.own_modules.insert(module.ident.to_string());
            // Paths inside an inline module start one level deeper.
            self.module.push(module.ident.to_string());
            syn::visit::visit_item(self, item);
            self.module.pop();
            return;
        }
        syn::visit::visit_item(self, item);
    }

    fn visit_item_use(&mut self, item: &ItemUse) {
        self.add_use(&item.tree, &mut Vec::new());
    }

    fn visit_path(&mut self, path: &syn::Path) {
        if path.segments.len() > 1 {
            let segments: Vec<_> =
                path.segments.iter().map(|part| part.ident.to_string()).collect();
            self.add(&segments);
        }
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.add_tokens(call.tokens.clone());
    }
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Meta>().is_ok_and(|condition| needs_test(&condition))
    })
}

/// Reports whether a condition of `cfg` holds only in builds for tests or for fuzzing.
fn needs_test(condition: &syn::Meta) -> bool {
    let parts = |list: &syn::MetaList| {
        let parts = list.parse_args_with(Punctuated::<syn::Meta, Token![,]>::parse_terminated);
        parts.into_iter().flatten().collect::<Vec<_>>()
    };
    match condition {
        syn::Meta::Path(path) => path.is_ident("test") || path.is_ident("fuzzing"),
        syn::Meta::List(list) if list.path.is_ident("any") => {
            let parts = parts(list);
            !parts.is_empty() && parts.iter().all(needs_test)
        }
        syn::Meta::List(list) => list.path.is_ident("all") && parts(list).iter().any(needs_test),
        syn::Meta::NameValue(_) => false,
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}
