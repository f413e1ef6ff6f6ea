//! A frame as an SVG picture, for documents.

use std::fmt::Write as _;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::text;

/// Size of a cell in pixels.
const CELL: (f64, f64) = (8.4, 17.0);
/// Distance of the base line of a text from the top of its row.
const BASE_LINE: f64 = 13.0;
const FOREGROUND: &str = "#d0d0d0";
const BACKGROUND: &str = "#1c1c1c";

/// Neighbouring cells of one style.
struct Run {
    column: u16,
    columns: u16,
    text: String,
    style: Look,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    foreground: String,
    background: String,
    bold: bool,
}

/// Draws a buffer. Colours are those of the 256-colour palette.
pub(crate) fn svg(buffer: &Buffer) -> String {
    let area = buffer.area();
    let width = f64::from(area.width) * CELL.0;
    let height = f64::from(area.height) * CELL.1;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" \
         font-size=\"14\">\n<rect width=\"100%\" height=\"100%\" fill=\"{BACKGROUND}\"/>\n"
    );
    for y in area.top()..area.bottom() {
        for run in runs(buffer, y) {
            draw(&mut svg, &run, y - area.top());
        }
    }
    svg.push_str("</svg>\n");
    svg
}

/// Divides a row into runs; a wide sign covers two cells.
fn runs(buffer: &Buffer, y: u16) -> Vec<Run> {
    let area = buffer.area();
    let mut runs: Vec<Run> = Vec::new();
    let mut x = area.left();
    while x < area.right() {
        let cell = &buffer[(x, y)];
        let columns = text::width(cell.symbol()).max(1) as u16;
        let style = look(cell);
        match runs.last_mut().filter(|run| run.style == style) {
            Some(run) => {
                run.text.push_str(cell.symbol());
                run.columns += columns;
            }
            None => {
                let text = cell.symbol().to_owned();
                runs.push(Run { column: x - area.left(), columns, text, style });
            }
        }
        x += columns;
    }
    runs
}

fn look(cell: &Cell) -> Look {
    let foreground = hex(cell.fg).unwrap_or_else(|| FOREGROUND.to_owned());
    let background = hex(cell.bg).unwrap_or_else(|| BACKGROUND.to_owned());
    let bold = cell.modifier.contains(Modifier::BOLD);
    if cell.modifier.contains(Modifier::REVERSED) {
        return Look { foreground: background, background: foreground, bold };
    }
    Look { foreground, background, bold }
}

/// Returns a colour of the fixed part of the 256-colour palette.
fn hex(colour: Color) -> Option<String> {
    let Color::Indexed(index @ 16..) = colour else { return None };
    let [red, green, blue] = match index {
        232.. => [8 + (index - 232) * 10; 3],
        _ => {
            let steps = [0_u8, 95, 135, 175, 215, 255];
            let index = usize::from(index - 16);
            [steps[index / 36], steps[index / 6 % 6], steps[index % 6]]
        }
    };
    Some(format!("#{red:02x}{green:02x}{blue:02x}"))
}

fn draw(svg: &mut String, run: &Run, y: u16) {
    let x = f64::from(run.column) * CELL.0;
    let top = f64::from(y) * CELL.1;
    let width = f64::from(run.columns) * CELL.0;
    let Look { foreground, background, bold } = &run.style;
    // Writing to a String cannot fail.
    if background != BACKGROUND {
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{top:.0}\" width=\"{width:.1}\" height=\"{}\" \
             fill=\"{background}\"/>",
            CELL.1
        );
    }
    if run.text.trim().is_empty() {
        return;
    }
    let weight = if *bold { " font-weight=\"bold\"" } else { "" };
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{:.0}\" textLength=\"{width:.1}\" \
         lengthAdjust=\"spacingAndGlyphs\" xml:space=\"preserve\" fill=\"{foreground}\"{weight}>{}\
         </text>",
        top + BASE_LINE,
        escaped(&run.text)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    #[test]
    fn runs_of_one_style_are_one_text() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 10, 1));
        let good = Style::new().fg(Color::Indexed(80)).add_modifier(Modifier::BOLD);
        buffer.set_string(0, 0, "a<b", good);
        buffer.set_string(3, 0, "决x", Style::new().bg(Color::Indexed(24)));
        let svg = svg(&buffer);
        assert!(svg.contains("fill=\"#5fd7d7\" font-weight=\"bold\">a&lt;b</text>"), "{svg}");
        assert!(svg.contains("x=\"25.2\" y=\"13\" textLength=\"25.2\""), "{svg}");
        assert!(svg.contains("fill=\"#005f87\"/>"), "{svg}");
        assert!(svg.ends_with("</svg>\n"));
    }
}
