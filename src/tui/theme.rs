//! The colours of the console. They are the terminal's sixteen colours, so that they follow its
//! theme, or none.

use ratatui::style::{Color, Modifier, Style};

/// A style for each meaning. Views refer to meanings, never to colours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Theme {
    pub(super) title: Style,
    pub(super) rule: Style,
    /// Labels, and figures of little interest.
    pub(super) faint: Style,
    /// Numbers and names.
    pub(super) text: Style,
    pub(super) good: Style,
    pub(super) warn: Style,
    pub(super) bad: Style,
    /// A banner that must be noticed.
    pub(super) alarm: Style,
    pub(super) chart: Style,
    pub(super) selected: Style,
    pub(super) key: Style,
}

impl Theme {
    /// Returns the coloured theme, or the plain one if `NO_COLOR` is set or the terminal is dumb.
    pub(super) fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        if set("NO_COLOR") || dumb { Self::plain() } else { Self::colour() }
    }

    pub(super) fn colour() -> Self {
        let fg = |colour| Style::new().fg(colour);
        Self {
            title: fg(Color::Cyan).add_modifier(Modifier::BOLD),
            rule: fg(Color::DarkGray),
            faint: fg(Color::DarkGray),
            text: Style::new(),
            good: fg(Color::Green),
            warn: fg(Color::Yellow),
            bad: fg(Color::Red).add_modifier(Modifier::BOLD),
            alarm: Style::new().fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD),
            chart: fg(Color::Cyan),
            selected: Style::new().add_modifier(Modifier::REVERSED),
            key: fg(Color::Yellow).add_modifier(Modifier::BOLD),
        }
    }

    /// Uses bold, dim and reversed text instead of colours.
    pub(super) fn plain() -> Self {
        let text = Style::new();
        let bold = text.add_modifier(Modifier::BOLD);
        let reversed = text.add_modifier(Modifier::REVERSED);
        Self {
            title: bold,
            rule: text.add_modifier(Modifier::DIM),
            faint: text.add_modifier(Modifier::DIM),
            text,
            good: text,
            warn: bold,
            bad: bold.add_modifier(Modifier::UNDERLINED),
            alarm: bold.add_modifier(Modifier::REVERSED),
            chart: text,
            selected: reversed,
            key: bold,
        }
    }
}
