//! Attachments and messages of a sample, which wait in a temporary file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use super::super::document::VALUE_BYTES_MAX;
use super::super::error::ImportError;
use crate::Json;

/// Beginning of a text that stands for an attachment.
const REFERENCE: &str = "\"attachment://";

/// Longest attachment that is put in the place of its reference, in bytes. Longer ones are images, which an event has no
/// room for.
pub(super) const ATTACHMENT_BYTES_MAX: usize = 1 << 20;

/// Most values that wait.
const VALUES_MAX: usize = 1 << 20;

/// Values by name.
#[derive(Default)]
pub(super) struct Spool {
    file: Option<File>,
    values: HashMap<String, (u64, usize)>,
    end: u64,
}

impl Spool {
    /// Keeps a value. Returns false if there are too many.
    pub(super) fn put(&mut self, name: &str, json: &Json) -> Result<bool, ImportError> {
        if self.values.len() >= VALUES_MAX {
            return Ok(false);
        }
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile().map_err(ImportError::Read)?);
        }
        let Some(file) = &mut self.file else { return Ok(false) };
        let text = json.as_str().as_bytes();
        file.seek(SeekFrom::Start(self.end)).and_then(|_| file.write_all(text)).map_err(ImportError::Read)?;
        self.values.insert(name.to_owned(), (self.end, text.len()));
        self.end = self.end.saturating_add(text.len() as u64);
        Ok(true)
    }

    /// The value with this name, unless it is longer than `bytes_max`.
    pub(super) fn get(&mut self, name: &str, bytes_max: usize) -> Result<Option<Json>, ImportError> {
        let Some((begin, bytes)) = self.values.get(name).copied() else { return Ok(None) };
        let Some(file) = self.file.as_mut().filter(|_| bytes <= bytes_max) else { return Ok(None) };
        let mut text = vec![0; bytes];
        file.seek(SeekFrom::Start(begin))
            .and_then(|_| file.read_exact(&mut text))
            .map_err(ImportError::Read)?;
        Ok(String::from_utf8(text).ok().map(Json::written))
    }

    /// Puts attachments in the places of their references.
    pub(super) fn resolve(&mut self, json: Json) -> Result<Json, ImportError> {
        if !json.as_str().contains(REFERENCE) {
            return Ok(json);
        }
        let (mut resolved, mut rest) = (String::new(), json.as_str());
        while let Some((before, behind)) = rest.split_once(REFERENCE) {
            resolved.push_str(before);
            // Behind a backslash the quote is a part of a text.
            let is_text = !before.ends_with('\\');
            let found = behind.split_once('"').filter(|_| is_text);
            let attachment = match found {
                Some((name, _)) => self.get(name, ATTACHMENT_BYTES_MAX)?,
                None => None,
            };
            match (attachment, found) {
                (Some(attachment), Some((_, after)))
                    if resolved.len().saturating_add(attachment.as_str().len()) <= VALUE_BYTES_MAX =>
                {
                    resolved.push_str(attachment.as_str());
                    rest = after;
                }
                _ => {
                    resolved.push_str(REFERENCE);
                    rest = behind;
                }
            }
        }
        resolved.push_str(rest);
        Ok(Json::written(resolved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_become_attachments_and_unknown_ones_stay() {
        let mut spool = Spool::default();
        let long = Json::text(&"x".repeat(ATTACHMENT_BYTES_MAX));
        for (name, json) in [("a1", Json::text("say \"hi\"")), ("b2", Json::text("two")), ("c3", long)] {
            assert!(spool.put(name, &json).unwrap());
        }
        for (json, expected) in [
            (r#"{"x": "attachment://a1", "y": ["attachment://b2"]}"#, r#"{"x": "say \"hi\"", "y": ["two"]}"#),
            (r#"["attachment://c3", "attachment://d4"]"#, r#"["attachment://c3", "attachment://d4"]"#),
            (r#"["a \"attachment://a1\" b"]"#, r#"["a \"attachment://a1\" b"]"#),
            ("3", "3"),
        ] {
            assert_eq!(spool.resolve(json.parse().unwrap()).unwrap().as_str(), expected);
        }
    }
}
