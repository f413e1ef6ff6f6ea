//! Engines that are files in the data directory.

use std::path::Path;

use anyhow::Context as _;

/// Opens a file of the data directory; an error names it.
pub(super) async fn open_file<T, E: Into<anyhow::Error>>(
    dir: &Path,
    file: &str,
    what: &str,
    open: impl AsyncFnOnce(&Path) -> Result<T, E>,
) -> anyhow::Result<T> {
    let path = dir.join(file);
    let opened = open(&path).await.map_err(Into::into);
    opened.with_context(|| format!("cannot open the {what} {}", path.display()))
}
