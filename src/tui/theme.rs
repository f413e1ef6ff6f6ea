//! The colours of the console.
//!
//! The coloured themes use the 240 colours that are the same on every terminal, with their own
//! background, so their contrast does not depend on the terminal's settings. Always holds: text of
//! each tone is readable, and states differ for people who do not see red or green (tested here).

use ratatui::style::{Color, Modifier, Style};

use super::tone::Tone;
use crate::protocol::admin::ClusterColour;

/// The themes, in the order in which a key goes through them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum ThemeName {
    #[default]
    Dark,
    Light,
    HighContrast,
    /// The palette of Okabe and Ito: blue, yellow and orange.
    BlueOrange,
    /// Bold, underlined and reversed text in the terminal's own colours.
    Mono,
}

impl ThemeName {
    pub(crate) const ALL: [Self; 5] =
        [Self::Dark, Self::Light, Self::HighContrast, Self::BlueOrange, Self::Mono];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Dark => "dark",
            Self::Light => "light",
            Self::HighContrast => "high-contrast",
            Self::BlueOrange => "blue-orange",
            Self::Mono => "mono",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.as_str() == name)
    }

    pub(crate) fn next(self) -> Self {
        let at = Self::ALL.iter().position(|name| *name == self).unwrap_or(0);
        Self::ALL[(at + 1) % Self::ALL.len()]
    }

    /// Chooses a theme: without colours [`Self::Mono`], else the one for the background. That is
    /// what `is_light` says, which asks the terminal, else what the environment says. If nobody
    /// knows it, the terminal's own colours are used.
    pub(crate) fn detect(
        variable: impl Fn(&str) -> Option<String>,
        is_light: impl FnOnce() -> Option<bool>,
    ) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let term = set("TERM").unwrap_or_default();
        let many_colours = set("COLORTERM").is_some()
            || ["256", "direct", "kitty", "alacritty", "ghostty", "wezterm"]
                .iter()
                .any(|name| term.contains(name));
        if set("NO_COLOR").is_some() || !many_colours {
            return Self::Mono;
        }
        // "foreground;background" of the sixteen colours.
        let told = || {
            let background: u8 = set("COLORFGBG")?.rsplit(';').next()?.parse().ok()?;
            Some(matches!(background, 7 | 9..=15))
        };
        match is_light().or_else(told) {
            Some(true) => Self::Light,
            Some(false) => Self::Dark,
            None => Self::Mono,
        }
    }
}

/// The colours of a theme, as numbers of the 256-colour palette.
#[derive(Debug, Clone, Copy)]
struct Palette {
    background: u8,
    text: u8,
    faint: u8,
    rule: u8,
    title: u8,
    good: u8,
    warn: u8,
    bad: u8,
    chart: u8,
    key: u8,
    /// Text and background of the selected row.
    selected: (u8, u8),
    /// Text and background of a banner that must be noticed.
    alarm: (u8, u8),
    /// The shades of the colours of clusters, in the order of [`ClusterColour::ALL`].
    clusters: [u8; ClusterColour::ALL.len()],
}

const DARK: Palette = Palette {
    background: 234,
    text: 252,
    faint: 246,
    rule: 240,
    title: 117,
    good: 80,
    warn: 220,
    bad: 203,
    chart: 75,
    key: 183,
    selected: (231, 24),
    alarm: (231, 124),
    clusters: [203, 208, 227, 113, 80, 75, 141, 212],
};

const LIGHT: Palette = Palette {
    background: 231,
    text: 235,
    faint: 240,
    rule: 250,
    title: 24,
    good: 23,
    warn: 130,
    bad: 52,
    chart: 25,
    key: 90,
    selected: (16, 153),
    alarm: (231, 88),
    clusters: [160, 130, 58, 28, 23, 25, 91, 162],
};

const HIGH_CONTRAST: Palette = Palette {
    background: 16,
    text: 231,
    faint: 250,
    rule: 246,
    title: 123,
    good: 51,
    warn: 226,
    bad: 203,
    chart: 117,
    key: 219,
    selected: (16, 231),
    alarm: (16, 203),
    clusters: [203, 214, 226, 119, 51, 111, 141, 219],
};

const BLUE_ORANGE: Palette = Palette { good: 74, warn: 220, bad: 209, chart: 110, ..DARK };

/// A style for each meaning. Views refer to meanings, never to colours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Theme {
    palette: Option<Palette>,
}

impl Theme {
    pub(crate) fn new(name: ThemeName) -> Self {
        let palette = match name {
            ThemeName::Dark => Some(DARK),
            ThemeName::Light => Some(LIGHT),
            ThemeName::HighContrast => Some(HIGH_CONTRAST),
            ThemeName::BlueOrange => Some(BLUE_ORANGE),
            ThemeName::Mono => None,
        };
        Self { palette }
    }

    /// The style of cells that nothing is written into.
    pub(crate) fn base(self) -> Style {
        self.palette.map_or(Style::new(), |palette| {
            Style::new().fg(Color::Indexed(palette.text)).bg(Color::Indexed(palette.background))
        })
    }

    pub(crate) fn of(self, tone: Tone) -> Style {
        match self.palette {
            Some(palette) => coloured(palette, tone),
            None => mono(tone),
        }
    }

    pub(crate) fn selected(self) -> Style {
        self.pair(|palette| palette.selected, Modifier::REVERSED)
    }

    /// A view that shows the last known state instead of the present one.
    pub(crate) fn stale(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// A banner that must be noticed.
    pub(crate) fn alarm(self) -> Style {
        self.pair(|palette| palette.alarm, Modifier::REVERSED | Modifier::BOLD)
    }

    fn pair(self, of: fn(&Palette) -> (u8, u8), without: Modifier) -> Style {
        self.palette.as_ref().map_or(Style::new().add_modifier(without), |palette| {
            let (text, background) = of(palette);
            Style::new().fg(Color::Indexed(text)).bg(Color::Indexed(background))
        })
    }
}

fn coloured(palette: Palette, tone: Tone) -> Style {
    let fg = |colour| Style::new().fg(Color::Indexed(colour));
    match tone {
        Tone::Text => fg(palette.text),
        Tone::Faint => fg(palette.faint),
        Tone::Strong => fg(palette.text).add_modifier(Modifier::BOLD),
        Tone::Title => fg(palette.title).add_modifier(Modifier::BOLD),
        Tone::Good => fg(palette.good),
        Tone::Warn => fg(palette.warn),
        Tone::Bad => fg(palette.bad).add_modifier(Modifier::BOLD),
        Tone::Chart => fg(palette.chart),
        Tone::Key => fg(palette.key).add_modifier(Modifier::BOLD),
        Tone::Rule => fg(palette.rule),
        Tone::Cluster(colour) => fg(palette.clusters[colour as usize]).add_modifier(Modifier::BOLD),
    }
}

fn mono(tone: Tone) -> Style {
    let style = Style::new();
    match tone {
        Tone::Text | Tone::Faint | Tone::Good | Tone::Chart | Tone::Rule => style,
        Tone::Strong | Tone::Title | Tone::Warn | Tone::Key | Tone::Cluster(_) => {
            style.add_modifier(Modifier::BOLD)
        }
        Tone::Bad => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Linear = [f64; 3];

    /// How colours look with normal sight, deuteranopia and protanopia (Machado and others, 2009).
    const SIGHTS: [[Linear; 3]; 3] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.367_322, 0.860_646, -0.227_968],
            [0.280_085, 0.672_501, 0.047_413],
            [-0.011_820, 0.042_940, 0.968_881],
        ],
        [
            [0.152_286, 1.052_583, -0.204_868],
            [0.114_503, 0.786_281, 0.099_216],
            [-0.003_882, -0.048_116, 1.051_998],
        ],
    ];

    /// Returns the light of a colour of the 256-colour palette.
    fn linear(index: u8) -> Linear {
        let channels = match index {
            232.. => [8 + (index - 232) * 10; 3],
            _ => {
                let steps = [0, 95, 135, 175, 215, 255];
                let index = usize::from(index - 16);
                [steps[index / 36], steps[index / 6 % 6], steps[index % 6]]
            }
        };
        channels.map(|channel| {
            let share = f64::from(channel) / 255.0;
            if share <= 0.040_45 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn contrast(a: u8, b: u8) -> f64 {
        let luminance = |index| {
            let [r, g, b] = linear(index);
            0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05
        };
        let ratio = luminance(a) / luminance(b);
        ratio.max(1.0 / ratio)
    }

    /// Returns the CIE 1976 difference of two colours as somebody sees them.
    fn difference(a: u8, b: u8, sight: &[Linear; 3]) -> f64 {
        let seen = |index| {
            let light = linear(index);
            let mix = |row: &Linear| row.iter().zip(light).map(|(a, b)| a * b).sum::<f64>();
            let [r, g, b] = [0, 1, 2].map(|row| mix(&sight[row]).clamp(0.0, 1.0));
            let f = |t: f64| if t > 0.008_856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 };
            let x = f((0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505);
            let y = f(0.2126 * r + 0.7152 * g + 0.0722 * b);
            let z = f((0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089);
            [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
        };
        let squares = seen(a).into_iter().zip(seen(b)).map(|(a, b)| (a - b).powi(2));
        squares.sum::<f64>().sqrt()
    }

    const PALETTES: [Palette; 4] = [DARK, LIGHT, HIGH_CONTRAST, BLUE_ORANGE];

    #[test]
    fn every_text_is_readable() {
        for palette in PALETTES {
            let Palette { text, faint, title, good, warn, bad, chart, key, .. } = palette;
            for colour in [text, faint, title, good, warn, bad, chart, key] {
                let contrast = contrast(colour, palette.background);
                assert!(contrast >= 4.5, "{colour} on {}: {contrast:.1}", palette.background);
            }
            for colour in palette.clusters {
                let contrast = contrast(colour, palette.background);
                assert!(contrast >= 4.5, "{colour} on {}: {contrast:.1}", palette.background);
            }
            for (text, background) in [palette.selected, palette.alarm] {
                assert!(contrast(text, background) >= 4.5, "{text} on {background}");
            }
        }
    }

    /// With other sights some are alike; the name is always beside its colour.
    #[test]
    fn colours_of_clusters_differ() {
        for palette in PALETTES {
            for (at, a) in palette.clusters.iter().enumerate() {
                for b in &palette.clusters[..at] {
                    let difference = difference(*a, *b, &SIGHTS[0]);
                    assert!(difference >= 20.0, "{a} and {b}: {difference:.0}");
                }
            }
        }
        for (at, colour) in ClusterColour::ALL.into_iter().enumerate() {
            assert_eq!(colour as usize, at);
            let mono = Theme::new(ThemeName::Mono).of(Tone::Cluster(colour));
            assert_eq!(mono, Style::new().add_modifier(Modifier::BOLD), "no colour");
        }
    }

    #[test]
    fn states_differ_for_every_sight() {
        for palette in PALETTES {
            let Palette { good, warn, bad, .. } = palette;
            for (a, b) in [(good, warn), (good, bad), (warn, bad)] {
                for sight in &SIGHTS {
                    let difference = difference(a, b, sight);
                    assert!(difference >= 20.0, "{a} and {b}: {difference:.0}");
                }
            }
        }
    }

    #[test]
    fn the_background_chooses_a_theme() {
        let chosen = |pairs: &[(&str, &str)], is_light: Option<bool>| {
            let variable = |name: &str| {
                let pair = pairs.iter().find(|(known, _)| *known == name);
                pair.map(|(_, value)| (*value).to_owned())
            };
            ThemeName::detect(variable, || is_light)
        };
        let many = ("TERM", "xterm-256color");
        assert_eq!(chosen(&[many], None), ThemeName::Mono);
        assert_eq!(chosen(&[many], Some(false)), ThemeName::Dark);
        assert_eq!(chosen(&[many], Some(true)), ThemeName::Light);
        assert_eq!(chosen(&[many, ("NO_COLOR", "1")], Some(true)), ThemeName::Mono);
        assert_eq!(chosen(&[("TERM", "dumb")], Some(true)), ThemeName::Mono);
        let light = [many, ("COLORFGBG", "0;15")];
        assert_eq!(chosen(&light, None), ThemeName::Light);
        assert_eq!(chosen(&light, Some(false)), ThemeName::Dark, "the terminal knows better");
        assert_eq!(chosen(&[many, ("COLORFGBG", "15;0")], None), ThemeName::Dark);
        assert_eq!(chosen(&[many, ("COLORFGBG", "15;default")], None), ThemeName::Mono);
        assert_eq!(ThemeName::named("blue-orange"), Some(ThemeName::BlueOrange));
        assert_eq!(ThemeName::Mono.next(), ThemeName::Dark);
    }
}
