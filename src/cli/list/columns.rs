//! The columns of a list's table.

/// Writes the cell of an item; the second argument is the time, in milliseconds since the epoch.
type Write<T> = fn(&T, u64) -> String;

/// A column of a list.
#[derive(Debug)]
pub(crate) struct ListColumn<T> {
    /// The name in `--where`, `--sort` and `--columns`.
    name: &'static str,
    /// The table's header, where that is another text.
    title: Option<&'static str>,
    /// `>`, `~` or nothing, as in [`table`](crate::cli::table::table).
    style: &'static str,
    /// Only shown if `--columns` names it.
    is_extra: bool,
    write: Write<T>,
}

/// A column with short texts.
pub(crate) const fn left<T>(name: &'static str, write: Write<T>) -> ListColumn<T> {
    ListColumn { name, title: None, style: "", is_extra: false, write }
}

/// A column with numbers.
pub(crate) const fn right<T>(name: &'static str, write: Write<T>) -> ListColumn<T> {
    ListColumn { name, title: None, style: ">", is_extra: false, write }
}

/// A column with text that people wrote, which may be cut.
pub(crate) const fn text<T>(name: &'static str, write: Write<T>) -> ListColumn<T> {
    ListColumn { name, title: None, style: "~", is_extra: false, write }
}

impl<T> ListColumn<T> {
    /// Returns the same column with another header.
    pub(crate) const fn titled(mut self, title: &'static str) -> Self {
        self.title = Some(title);
        self
    }

    /// Returns the same column, which is only shown if it is asked for.
    pub(crate) const fn extra(mut self) -> Self {
        self.is_extra = true;
        self
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn is_extra(&self) -> bool {
        self.is_extra
    }

    pub(super) fn header(&self) -> String {
        format!("{}{}", self.style, self.title.unwrap_or(self.name))
    }

    pub(super) fn show(&self, item: &T, now_ms: u64) -> String {
        (self.write)(item, now_ms)
    }
}
