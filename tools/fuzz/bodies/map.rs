//! Whatever a map and the records that it is applied to hold, the map is refused or its events can be recorded; and so
//! it is for the maps of Annals itself.

use annals::import::map::{Map, Mapper};
use annals::import::{Source, langfuse, langsmith};

/// The line between a map and its records.
const BETWEEN: &str = "\n---\n";

pub(crate) fn run(bytes: &[u8]) {
    let mut sink = |handed: annals::import::Handed| {
        for draft in handed.drafts {
            assert_eq!(draft.check(), Ok(()));
        }
        Ok(())
    };
    let text = String::from_utf8_lossy(bytes);
    let (map, records) = text.split_once(BETWEEN).unwrap_or(("", &text));
    // Bad records are left out, so that those after them are read.
    let _ = langfuse(records.as_bytes(), &mut |_| Ok(()), &mut sink);
    let _ = langsmith(records.as_bytes(), &mut |_| Ok(()), &mut sink);
    let Ok(map) = map.parse::<Map>() else { return };
    let mut mapper = Mapper::new(&map, Source::new("fuzz").expect("the name is one"));
    for (position, record) in (1..).zip(records.lines()) {
        for draft in mapper.drafts(None, position, record).unwrap_or_default() {
            assert_eq!(draft.check(), Ok(()));
        }
    }
}
