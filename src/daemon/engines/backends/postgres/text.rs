//! Text for PostgreSQL's columns.

use std::borrow::Cow;

/// Replaces U+0000, which no text column can hold. Comments never contain it. A name or a reason
/// from outside could, and must not make its whole batch fail forever.
pub(crate) fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{FFFD}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_no_column_holds_becomes_storable() {
        assert_eq!(storable("ann"), "ann");
        assert_eq!(storable("a\0n\0"), "a\u{FFFD}n\u{FFFD}");
    }
}
