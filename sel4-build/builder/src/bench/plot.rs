// SPDX-License-Identifier: MIT OR Apache-2.0

//! Charts: lines over logarithmic axes, and bars.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figure::grouped;
use crate::description::Kernel;

/// Where charts are drawn.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const TITLE: (&str, i32) = ("sans-serif", 19);
const TEXT: (&str, i32) = ("sans-serif", 14);
const GREY: RGBColor = RGBColor(0x60, 0x60, 0x60);

/// Colours that those who see no red or green tell apart, too.
pub fn colour(kernel: Kernel) -> RGBColor {
    match kernel {
        Kernel::Stock => RGBColor(0xd5, 0x5e, 0x00),
        Kernel::Extended => RGBColor(0x00, 0x72, 0xb2),
    }
}

/// An SVG of this size, drawn by `draw`.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    Ok(text + "\n")
}

/// A line of points, with a name at its last one.
pub struct Line {
    pub name: String,
    pub colour: RGBColor,
    pub points: Vec<(u64, u64)>,
    /// Whether its name stands above the last point or below it.
    pub name_above: bool,
}

/// Lines over two logarithmic axes.
pub struct Lines<'a> {
    pub title: &'a str,
    pub x_title: &'a str,
    /// Places that are marked, and how they are called.
    pub x_marks: &'a [(u64, &'a str)],
    pub lines: Vec<Line>,
}

impl Lines<'_> {
    /// Draws them.
    pub fn draw(&self, area: &Area<'_>) -> Result<()> {
        let highest = self.lines.iter().flat_map(|line| &line.points);
        let decades = highest.map(|&(_, y)| y).max().unwrap_or(1).ilog10() + 1;
        let y_marks: Vec<(u64, String)> = (3..=decades)
            .map(|decade| (10u64.pow(decade), grouped(10u64.pow(decade))))
            .collect();
        let x_marks: Vec<(u64, String)> = self
            .x_marks
            .iter()
            .map(|&(x, name)| (x, name.to_owned()))
            .collect();
        let y_axis = Logarithmic::new(y_marks, 0.0);
        let bottom = y_axis.range().start;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, TITLE)
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(118)
            .build_cartesian_2d(Logarithmic::new(x_marks, 0.04), y_axis)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(GREY)
            .label_style(TEXT)
            .axis_desc_style(TEXT)
            .x_desc(self.x_title)
            .y_desc("instructions")
            .draw()
            .map_err(failed)?;
        for line in &self.lines {
            let points: Vec<_> = line
                .points
                .iter()
                .map(|&(x, y)| (log(x), log(y).max(bottom)))
                .collect();
            let style = line.colour.stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))
                .map_err(failed)?;
            let dots = points
                .iter()
                .map(|&point| Circle::new(point, 4, line.colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
            let Some(&last) = points.last() else { continue };
            let (vertical, lift) = match line.name_above {
                true => (VPos::Bottom, -8),
                false => (VPos::Top, 8),
            };
            let style = TEXT
                .into_text_style(area)
                .color(&line.colour)
                .pos(Pos::new(HPos::Right, vertical));
            let name = EmptyElement::at(last) + Text::new(line.name.clone(), (4, lift), style);
            chart.draw_series([name]).map_err(failed)?;
        }
        Ok(())
    }
}

/// What a group of bars is of, and the bars in it.
pub type Group<'a> = (&'a str, Vec<(Kernel, Option<u64>)>);

/// Bars in groups, one of each kernel.
pub struct Bars<'a> {
    pub title: &'a str,
    pub groups: Vec<Group<'a>>,
}

impl Bars<'_> {
    /// Draws them.
    pub fn draw(&self, area: &Area<'_>) -> Result<()> {
        let values = self.groups.iter().flat_map(|(_, bars)| bars);
        let longest = values.filter_map(|&(_, value)| value).max().unwrap_or(1);
        let count = self.groups.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .caption(self.title, TITLE)
            .margin(14)
            .x_label_area_size(46)
            .y_label_area_size(200)
            .build_cartesian_2d(0.0..longest as f64 * 1.25, count..0.0)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .axis_style(GREY)
            .label_style(TEXT)
            .axis_desc_style(TEXT)
            .x_labels(6)
            .x_desc("instructions")
            .x_label_formatter(&|value| grouped(*value as u64))
            .draw()
            .map_err(failed)?;
        for (row, (name, bars)) in self.groups.iter().enumerate() {
            let row = row as f64;
            let height = 0.7 / bars.len().max(1) as f64;
            let style = TEXT
                .into_text_style(area)
                .pos(Pos::new(HPos::Right, VPos::Center));
            let name =
                EmptyElement::at((0.0, row + 0.5)) + Text::new(name.to_string(), (-8, 0), style);
            chart.draw_series([name]).map_err(failed)?;
            for (position, &(kernel, value)) in bars.iter().enumerate() {
                let colour = colour(kernel);
                let top = row + 0.15 + position as f64 * height;
                let end = value.unwrap_or(0) as f64;
                let corners = [(0.0, top), (end, top + height * 0.92)];
                let bar = Rectangle::new(corners, colour.filled());
                chart.draw_series([bar]).map_err(failed)?;
                let text = match value {
                    Some(value) => format!("{} {kernel}", grouped(value)),
                    None => format!("{kernel} has none"),
                };
                let style = TEXT
                    .into_text_style(area)
                    .color(&colour)
                    .pos(Pos::new(HPos::Left, VPos::Center));
                let place = (end, top + height * 0.46);
                let text = EmptyElement::at(place) + Text::new(text, (6, 0), style);
                chart.draw_series([text]).map_err(failed)?;
            }
        }
        Ok(())
    }
}

fn log(value: u64) -> f64 {
    (value.max(1) as f64).log10()
}

fn failed(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}

/// A logarithmic axis with marks of its own. Its values are logarithms.
struct Logarithmic {
    marks: Vec<(f64, String)>,
    range: Range<f64>,
}

impl Logarithmic {
    /// From the first mark to the last, and some of that beyond.
    fn new(marks: Vec<(u64, String)>, beyond: f64) -> Self {
        let marks: Vec<_> = marks
            .into_iter()
            .map(|(value, name)| (log(value), name))
            .collect();
        let first = marks.first().map_or(0.0, |&(value, _)| value);
        let last = marks.last().map_or(1.0, |&(value, _)| value);
        let beyond = (last - first) * beyond;
        Logarithmic {
            marks,
            range: first - beyond..last + beyond,
        }
    }
}

impl Ranged for Logarithmic {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.range.start) / (self.range.end - self.range.start);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.iter().map(|&(value, _)| value).collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Logarithmic {
    fn format_ext(&self, value: &f64) -> String {
        let mark = self.marks.iter().find(|(mark, _)| mark == value);
        mark.map_or_else(String::new, |(_, name)| name.clone())
    }
}
