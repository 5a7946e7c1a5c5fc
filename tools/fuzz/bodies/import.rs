//! Whatever a file of another program holds, its importers end with drafts that can be recorded, or an error.

use std::io::Cursor;

use annals::import::{
    Handed, Source, atif, claude_code, codex, inspect_ai, mini_swe_agent, openhands, swe_agent, tau_bench,
    tree_of_thought,
};

pub(crate) fn run(bytes: &[u8]) {
    let source = Source::new("fuzz").expect("the name is one");
    let mut sink = |handed: Handed| {
        for draft in handed.drafts {
            assert_eq!(draft.check(), Ok(()));
        }
        Ok(())
    };
    let _ = tau_bench(bytes, &source, &mut sink);
    let _ = tree_of_thought(bytes, &source, &mut sink);
    // Bad records are left out, so that those after them are read.
    let _ = claude_code(bytes, &mut |_| Ok(()), &mut sink);
    let _ = codex(bytes, &mut |_| Ok(()), &mut sink);
    let _ = openhands(bytes, &source, &mut |_| Ok(()), &mut sink);
    let _ = atif(Cursor::new(bytes), &source, &mut |_| Ok(()), &mut sink);
    let _ = inspect_ai(Cursor::new(bytes), &source, &mut |_| Ok(()), &mut sink);
    let _ = swe_agent(Cursor::new(bytes), &source, &mut |_| Ok(()), &mut sink);
    let _ = mini_swe_agent(Cursor::new(bytes), &source, &mut |_| Ok(()), &mut sink);
}
