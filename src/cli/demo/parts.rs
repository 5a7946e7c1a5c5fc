//! Parts of the demonstration's output.

use crate::demo::Solution;

use crate::cli::out::{BOLD, Out};

pub(super) fn heading(text: &str, out: &mut Out) -> anyhow::Result<()> {
    let text = out.paint(BOLD, text);
    out.line("")?;
    out.line(&text)?;
    Ok(())
}

pub(super) fn shown(answer: &Solution) -> String {
    match answer {
        Solution::Found(expression) => format!("{expression} = 24"),
        Solution::Missed(expression) => format!("missed: {expression} = 24"),
        Solution::Wrong(expression) => format!("wrong: {expression}"),
        _ => "no answer exists".to_owned(),
    }
}
