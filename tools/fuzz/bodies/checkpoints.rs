//! What is recovered of a checkpoint file is a checkpoint file, and the rest is what it was.

use annals::note::CheckpointFile;

pub(crate) fn run(bytes: &[u8]) {
    let recovered = CheckpointFile::recover(bytes);
    let (good, rest) = bytes.split_at(recovered.good_bytes);
    assert_eq!(rest, recovered.rest);
    assert_eq!(recovered.error.is_some(), !rest.is_empty());
    let file = CheckpointFile { checkpoints: recovered.checkpoints };
    assert_eq!(file.to_string().as_bytes(), good);
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(whole) = text.parse::<CheckpointFile>()
    {
        assert_eq!(whole.to_string(), text);
    }
}
