//! Parts of the demonstration's output.

use crate::demo::Answer;

use crate::cli::out::{BOLD, Out};

pub(super) fn heading(text: &str, out: &mut Out) -> anyhow::Result<()> {
    let text = out.paint(BOLD, text);
    out.line("")?;
    out.line(&text)?;
    Ok(())
}

pub(super) fn shown(answer: &Answer) -> String {
    match answer {
        Answer::Found(expression) => format!("{expression} = 24"),
        Answer::Missed(expression) => format!("missed: {expression} = 24"),
        Answer::Wrong(expression) => format!("wrong: {expression}"),
        _ => "no answer exists".to_owned(),
    }
}
