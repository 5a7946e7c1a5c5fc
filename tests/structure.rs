//! The structure of the source: what docs/architecture.md says of it in general, held against every file.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test that cannot go on fails"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// A module's path within its crate; that of the root is empty.
type Module = Vec<String>;

/// What a file says: the modules that it declares, and the paths that it names.
#[derive(Default)]
struct Source {
    /// In the order of their declarations. Those for tests are left out.
    modules: Vec<String>,
    /// Those for tests.
    test_modules: Vec<String>,
    /// Files that stand elsewhere than their modules' names say.
    elsewhere: BTreeMap<String, PathBuf>,
    /// Each `pub use` by the name that it gives.
    exports: BTreeMap<String, Vec<String>>,
    /// Paths behind which modules may be, as they are written.
    paths: Vec<Vec<String>>,
}

/// A crate as its files are.
struct Tree {
    files: BTreeMap<Module, (PathBuf, Source)>,
}

impl Tree {
    fn read(root: &Path) -> Tree {
        let mut tree = Tree { files: BTreeMap::new() };
        tree.add(Vec::new(), root.to_owned());
        tree
    }

    fn add(&mut self, module: Module, path: PathBuf) {
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let source = Source::read(text.parse().expect("the compiler takes it"));
        let is_folder =
            matches!(path.file_stem().and_then(|stem| stem.to_str()), Some("mod" | "lib" | "main"));
        let folder = if is_folder { path.with_file_name("") } else { path.with_extension("") };
        for name in source.modules.iter().chain(&source.test_modules) {
            let file = match source.elsewhere.get(name) {
                Some(elsewhere) => path.with_file_name("").join(elsewhere),
                None => Some(folder.join(format!("{name}.rs")))
                    .filter(|file| file.exists())
                    .unwrap_or_else(|| folder.join(name).join("mod.rs")),
            };
            self.add(module.iter().chain([name]).cloned().collect(), file);
        }
        self.files.insert(module, (path, source));
    }

    /// The module that a path leads to, and behind the names under which others give it out.
    fn target(&self, from: &Module, path: &[String]) -> Option<Module> {
        let mut path = self.absolute(from, path)?;
        // Each step goes to where a name comes from; in a circle of them it would never end.
        for _ in 0..16 {
            let depth = (0..=path.len()).rev().find(|depth| self.files.contains_key(&path[..*depth]))?;
            let (module, rest) = path.split_at(depth);
            let export = rest.first().and_then(|name| self.files[module].1.exports.get(name));
            match export.and_then(|export| self.absolute(&module.to_vec(), export)) {
                Some(export) => path = export.into_iter().chain(rest[1..].iter().cloned()).collect(),
                None => return Some(module.to_vec()),
            }
        }
        None
    }

    fn absolute(&self, from: &Module, path: &[String]) -> Option<Module> {
        let (mut module, mut rest) = (from.clone(), path);
        match path.first()?.as_str() {
            "crate" => (module, rest) = (Vec::new(), &path[1..]),
            "self" => rest = &path[1..],
            "super" => {
                while rest.first().is_some_and(|first| first == "super") {
                    module.pop()?;
                    rest = &rest[1..];
                }
            }
            child if self.files[from].1.modules.iter().any(|module| module == child) => {}
            _ => return None,
        }
        Some(module.into_iter().chain(rest.iter().cloned()).collect())
    }

    /// The place of a module among those that the file above it declares.
    fn place(&self, module: &[String]) -> Option<usize> {
        let (name, above) = module.split_last()?;
        self.files[above].1.modules.iter().position(|declared| declared == name)
    }

    /// Whether it is for tests, or below one that is.
    fn is_test(&self, module: &[String]) -> bool {
        module.split_last().is_some_and(|(name, above)| {
            self.files[above].1.test_modules.contains(name) || self.is_test(above)
        })
    }

    /// What stands above what it uses: each as a sentence.
    fn arrows_upwards(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        for (module, (_, source)) in self.files.iter().filter(|(module, _)| !self.is_test(module)) {
            for path in &source.paths {
                // What stands in the root itself is for everybody.
                let Some(used) = self.target(module, path).filter(|used| !used.is_empty()) else { continue };
                let common = module.iter().zip(&used).take_while(|(own, other)| own == other).count();
                let is_fine = match (module.get(..=common), used.get(..=common)) {
                    // A file may use those of its own room.
                    (None, _) => true,
                    // What a room's files use does not stand in the file that is above them.
                    (Some(_), None) => false,
                    (Some(own), Some(other)) => match (self.place(own), self.place(other)) {
                        (Some(own), Some(other)) => other < own,
                        // One that is named within a macro, or is no module.
                        _ => true,
                    },
                };
                if !is_fine {
                    found.insert(format!("{} uses {} ({})", name(module), name(&used), path.join("::")));
                }
            }
        }
        found.into_iter().collect()
    }
}

fn name(module: &[String]) -> String {
    if module.is_empty() { "the root".to_owned() } else { module.join("::") }
}

impl Source {
    fn read(tokens: TokenStream) -> Source {
        let mut source = Source::default();
        source.items(tokens);
        source
    }

    fn items(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let (mut at, mut is_test, mut is_public, mut elsewhere) = (0, false, false, None);
        while let Some(token) = tokens.get(at) {
            match token {
                // `#[cfg(test)]`: the next item is no part of what is built.
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let attribute =
                        tokens.get(at + 1).map(ToString::to_string).unwrap_or_default().replace(' ', "");
                    is_test |= attribute == "[cfg(test)]";
                    elsewhere = attribute
                        .strip_prefix("[path=\"")
                        .and_then(|path| path.strip_suffix("\"]"))
                        .map(PathBuf::from)
                        .or(elsewhere);
                    at += 2;
                    continue;
                }
                TokenTree::Ident(ident) if ident == "pub" => {
                    is_public = true;
                    // Of `pub(in crate::room)` it is no use.
                    at += usize::from(is_group(tokens.get(at + 1), Delimiter::Parenthesis));
                }
                TokenTree::Ident(ident) if ident == "mod" => {
                    if let [TokenTree::Ident(name), TokenTree::Punct(end), ..] = &tokens[at + 1..]
                        && end.as_char() == ';'
                    {
                        let modules = if is_test { &mut self.test_modules } else { &mut self.modules };
                        modules.push(name.to_string());
                        if let Some(elsewhere) = elsewhere.take() {
                            self.elsewhere.insert(name.to_string(), elsewhere);
                        }
                        at += 2;
                    } else if is_test {
                        // The name and the body of one that is written here.
                        at += 2;
                        (is_test, is_public) = (false, false);
                    }
                }
                TokenTree::Ident(ident) if ident == "use" => {
                    let length = tokens[at..].iter().take_while(|token| !is_punct(token, ';')).count();
                    if !is_test {
                        let mut paths = Vec::new();
                        expand(&tokens[at + 1..at + length], &[], &mut paths);
                        for (path, alias) in paths {
                            if is_public && let Some(last) = alias.or(path.last().cloned()) {
                                self.exports.insert(last, path.clone());
                            } else {
                                self.paths.push(path);
                            }
                        }
                    }
                    at += length;
                }
                TokenTree::Ident(_) if is_path(&tokens[at..]) && !is_test => {
                    let mut path = vec![token.to_string()];
                    while let [TokenTree::Punct(first), TokenTree::Punct(second), TokenTree::Ident(next), ..] =
                        &tokens[at + 1..]
                        && first.as_char() == ':'
                        && second.as_char() == ':'
                    {
                        path.push(next.to_string());
                        at += 3;
                    }
                    self.paths.push(path);
                }
                TokenTree::Group(group) => {
                    if !is_test {
                        self.items(group.stream());
                    }
                    // A body ends an item.
                    if group.delimiter() == Delimiter::Brace {
                        (is_test, is_public) = (false, false);
                    }
                }
                _ => {}
            }
            if tokens.get(at).is_some_and(|token| is_punct(token, ';')) {
                (is_test, is_public) = (false, false);
            }
            at += 1;
        }
    }
}

fn is_group(token: Option<&TokenTree>, delimiter: Delimiter) -> bool {
    matches!(token, Some(TokenTree::Group(group)) if group.delimiter() == delimiter)
}

fn is_punct(token: &TokenTree, wanted: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == wanted)
}

/// Whether a path begins here.
fn is_path(tokens: &[TokenTree]) -> bool {
    matches!(tokens, [TokenTree::Ident(_), TokenTree::Punct(first), TokenTree::Punct(second), ..]
        if first.as_char() == ':' && first.spacing() == Spacing::Joint && second.as_char() == ':')
}

/// The paths of a `use`, each with the name that it gets by `as`.
fn expand(tokens: &[TokenTree], before: &[String], paths: &mut Vec<(Vec<String>, Option<String>)>) {
    let mut path = before.to_vec();
    let mut alias = None;
    let mut tokens = tokens.iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(ident) if ident == "as" => alias = tokens.next().map(ToString::to_string),
            TokenTree::Ident(ident) if ident == "self" && !path.is_empty() => {}
            TokenTree::Ident(ident) => path.push(ident.to_string()),
            TokenTree::Group(group) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                for part in inner.split(|token| is_punct(token, ',')).filter(|part| !part.is_empty()) {
                    expand(part, &path, paths);
                }
                return;
            }
            _ => {}
        }
    }
    paths.push((path, alias));
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The files of `folder` that none of these trees reaches.
fn forgotten(folder: &Path, trees: &[Tree]) -> Vec<PathBuf> {
    let files = trees.iter().flat_map(|tree| tree.files.values());
    let reached: BTreeSet<_> = files.map(|(path, _)| path.canonicalize().unwrap()).collect();
    let is_reached = |path: &PathBuf| reached.contains(&path.canonicalize().unwrap());
    files_below(folder).into_iter().filter(|path| !is_reached(path)).collect()
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn every_module_uses_only_what_is_declared_above_it() {
    let upwards = Tree::read(&src().join("lib.rs")).arrows_upwards();
    assert!(upwards.is_empty(), "{}", upwards.join("\n"));
}

#[test]
fn no_file_of_the_source_is_forgotten() {
    let trees = ["lib.rs", "main.rs"].map(|root| Tree::read(&src().join(root)));
    assert_eq!(forgotten(&src(), &trees), Vec::<PathBuf>::new(), "no `mod` leads there");
}

#[test]
fn no_file_of_the_tests_is_forgotten() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut roots = Vec::new();
    for entry in fs::read_dir(&tests).unwrap() {
        let path = entry.unwrap().path();
        let root = if path.is_dir() { path.join("main.rs") } else { path };
        if root.exists() && root.extension().is_some_and(|extension| extension == "rs") {
            roots.push(root);
        }
    }
    let trees: Vec<_> = roots.iter().map(|root| Tree::read(root)).collect();
    assert_eq!(forgotten(&tests, &trees), Vec::<PathBuf>::new(), "no program has them as modules");
}
