//! Views of `lc top` that the daemon keeps for all operators under a name.

use serde::{Deserialize, Serialize};

/// The most views that are kept.
pub const MAX_SAVED_VIEWS: usize = 100;
/// The most characters of a view's name.
pub const MAX_VIEW_NAME: usize = 32;
/// The most bytes of a view's settings, written as JSON.
pub const MAX_VIEW_BYTES: usize = 4_096;

/// The settings of a saved view. The names are those of the console that saved it: another version
/// ignores those that it does not know.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ViewSettings {
    /// The view, such as `streams`.
    pub view: String,
    /// The length of the charts, in milliseconds.
    #[serde(default)]
    pub window_ms: u64,
    /// The tables of the view that are not as they are at the start.
    #[serde(default)]
    pub tables: Vec<TableSettings>,
}

/// How one table of a view is filtered, sorted and shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TableSettings {
    /// The table, such as `streams`.
    pub table: String,
    /// A filter of the grammar of `lc --where`; empty for all rows.
    #[serde(default)]
    pub filter: String,
    /// The column that it is sorted by; absent for the table's own order.
    #[serde(default)]
    pub sort: Option<String>,
    /// Whether the order is turned round.
    #[serde(default)]
    pub inverted: bool,
    /// The columns that are not shown.
    #[serde(default)]
    pub hidden: Vec<String>,
}

/// `GET /v1/views`: a view that operators open as `@NAME`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SavedView {
    pub name: String,
    pub settings: ViewSettings,
    /// The operator that saved it last.
    pub saved_by: String,
    /// Milliseconds since the Unix epoch.
    pub saved_at: u64,
}

/// `POST /v1/views`: keeps a view, in place of one of the same name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaveViewRequest {
    /// 1 to [`MAX_VIEW_NAME`] printable characters without spaces, written without the `@`.
    pub name: String,
    /// At most [`MAX_VIEW_BYTES`] as JSON.
    pub settings: ViewSettings,
}

/// `POST /v1/views/forget`: removes a view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForgetViewRequest {
    pub name: String,
}
