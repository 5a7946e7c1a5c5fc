//! Hints after commands and queries that people type by habit from other programs.

use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use rusqlite::Connection;

/// The likeness that a name must have to one that is meant, from 0 to 1.
const ALIKE: f64 = 0.75;

/// Words of other programs, and the command that does the same here.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["ls", "list", "runs", "traces"], "`annals sessions` lists sessions"),
    (
        &["log", "logs", "events", "history"],
        "`annals tail` prints events, and `annals replay SESSION` those of a session",
    ),
    (&["cat", "get", "view", "describe", "inspect"], "`annals show SESSION` shows a session"),
    (&["grep", "find"], "`annals search TEXT` searches the texts of all events"),
    (&["query", "select"], "`annals sql QUERY` queries the read tables"),
    (&["check", "audit", "fsck"], "`annals verify` verifies the log"),
    (&["delete", "rm", "erase", "forget"], "`annals redact` erases payloads"),
    (&["backup", "dump"], "`annals copy FILE` copies the log, and `annals export` prints it as JSON"),
    (&["start", "server", "run", "up", "ui", "web"], "`annals serve` starts the server"),
    (&["status", "stats"], "`annals info` describes the log, and `annals projections` the read tables"),
    (&["sign"], "`annals checkpoint` signs a checkpoint"),
    (&["help-all", "usage"], "`annals --help` lists the commands"),
];

/// The command to use instead of arguments that were not understood; None if nothing is known.
pub(super) fn of_arguments(error: &clap::Error) -> Option<String> {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        _ => None,
    };
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let word = text(ContextKind::InvalidSubcommand)?;
            COMMANDS
                .iter()
                .find(|(words, _)| words.contains(&word.as_str()))
                .map(|(_, hint)| (*hint).to_owned())
        }
        ErrorKind::UnknownArgument => {
            let word = text(ContextKind::InvalidArg)?;
            match word.as_str() {
                "--port" | "-p" | "--host" => {
                    Some("`annals serve --listen ADDRESS:PORT` chooses the address".to_owned())
                }
                "-f" | "--file" | "--database" => Some("`--db FILE` names the log".to_owned()),
                // The option that other commands have for the log is expected as an argument.
                word if !word.starts_with('-') && (word.ends_with(".db") || Path::new(word).is_file()) => {
                    Some("`--db FILE` names the log, also before the command".to_owned())
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The table or the column that a query probably meant, by the error that SQLite reported.
pub(super) fn of_query(connection: &Connection, error: &str) -> Option<String> {
    let after = |begin: &str| error.split_once(begin).map(|(_, name)| name.trim());
    if let Some(table) = after("no such table: ") {
        return nearest(
            table,
            &names(connection, "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')")?,
        );
    }
    let column = after("no such column: ")?;
    // SQLite names the table if the query did.
    let column = column.rsplit('.').next().unwrap_or(column);
    let columns = "SELECT DISTINCT c.name FROM sqlite_schema AS t, pragma_table_info(t.name) AS c
                   WHERE t.type IN ('table', 'view') AND t.name NOT LIKE 'annals\\_%' ESCAPE '\\'";
    nearest(column, &names(connection, columns)?)
}

fn names(connection: &Connection, sql: &str) -> Option<Vec<String>> {
    let mut statement = connection.prepare(sql).ok()?;
    let names = statement.query_map([], |row| row.get(0)).ok()?;
    names.collect::<rusqlite::Result<_>>().ok()
}

/// The name that is most alike.
fn nearest(wrong: &str, names: &[String]) -> Option<String> {
    let alike = |name: &&String| strsim::jaro_winkler(&wrong.to_lowercase(), name);
    let best = names.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(&best) >= ALIKE).then(|| format!("did you mean `{best}`?"))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    fn hint(arguments: &[&str]) -> Option<String> {
        let arguments = ["annals"].iter().chain(arguments);
        of_arguments(&crate::cli::Args::try_parse_from(arguments).unwrap_err())
    }

    #[test]
    fn words_of_other_programs_have_a_hint() {
        for (arguments, hinted) in [
            (&["ls"][..], "annals sessions"),
            (&["log"], "annals tail"),
            (&["ui"], "annals serve"),
            (&["verify", "audit.db"], "--db FILE"),
            (&["serve", "--port", "80"], "--listen"),
        ] {
            assert!(hint(arguments).is_some_and(|hint| hint.contains(hinted)), "{arguments:?}");
        }
        assert_eq!(hint(&["nonsense"]), None);
        assert_eq!(hint(&["sessions", "--nonsense"]), None);
    }

    #[test]
    fn no_hint_hides_a_command() {
        use clap::CommandFactory as _;
        for command in crate::cli::Args::command().get_subcommands() {
            let words = COMMANDS.iter().flat_map(|(words, _)| *words);
            assert!(!words.into_iter().any(|word| *word == command.get_name()), "{}", command.get_name());
        }
    }

    #[test]
    fn a_query_is_told_the_name_that_is_most_alike() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE steps (module, status); CREATE TABLE sessions (id)").unwrap();
        let hint = |sql: &str| of_query(&connection, &connection.prepare(sql).unwrap_err().to_string());
        assert_eq!(hint("SELECT * FROM step").as_deref(), Some("did you mean `steps`?"));
        assert_eq!(hint("SELECT modul FROM steps").as_deref(), Some("did you mean `module`?"));
        assert_eq!(hint("SELECT s.modul FROM steps s").as_deref(), Some("did you mean `module`?"));
        assert_eq!(hint("SELECT * FROM quite_other"), None);
        assert_eq!(hint("SELEC 1"), None);
    }
}
