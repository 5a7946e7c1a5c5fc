//! docs/commands.md against the program: every command and every option, and nothing else.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory as _};

const PAGE: &str = include_str!("../../docs/commands.md");

/// The first cells of the rows of a section's tables, and the second ones.
fn rows(section: &str) -> Vec<(String, String)> {
    let begin = PAGE.split_once(&format!("## {section}\n")).unwrap().1;
    let text = begin.split_once("\n## ").map_or(begin, |(text, _)| text);
    text.lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .filter(|(first, _)| first.contains('`'))
        .map(|(first, second)| (first.to_owned(), second.to_owned()))
        .collect()
}

fn visible(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
}

#[test]
fn the_page_has_every_command_with_the_first_line_of_its_help() {
    let program = super::Args::command();
    let expected: BTreeSet<(String, String)> = visible(&program)
        .map(|command| {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            (format!("`annals {}`", command.get_name()), about)
        })
        .collect();
    assert_eq!(rows("The tree").into_iter().collect::<BTreeSet<_>>(), expected);
}

fn options(command: &Command, all: &mut BTreeSet<String>) {
    for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
        all.extend(argument.get_long().map(|long| format!("--{long}")));
    }
    visible(command).for_each(|part| options(part, all));
}

#[test]
fn the_page_has_every_option_once() {
    let mut expected = BTreeSet::new();
    options(&super::Args::command(), &mut expected);
    let words = |cell: &str| {
        let words = cell.split('`').skip(1).step_by(2).map(str::to_owned);
        words.filter(|word| word.starts_with("--")).collect::<Vec<_>>()
    };
    let named: Vec<String> = rows("Options").iter().flat_map(|(options, _)| words(options)).collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(named.len(), unique.len(), "an option has two meanings: {named:?}");
    assert_eq!(unique, expected);
}
