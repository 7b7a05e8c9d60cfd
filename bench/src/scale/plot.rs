//! A plot of a few lines over powers of ten, as SVG, readable in the light and in the dark.

use std::fmt::Write as _;

const WIDTH: f64 = 780.0;
const HEIGHT: f64 = 380.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 560.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 340.0;
/// Least distance between two labels.
const LABEL: f64 = 16.0;

const STYLE: &str = "\
svg{color-scheme:light dark;font:13px system-ui,sans-serif}\
.back{fill:#fff}text{fill:#1f2328}.grid{stroke:#d8dee4}.l{fill:none;stroke-width:2}\
.s0{color:#0969da}.s1{color:#9a6700}.s2{color:#1a7f37}.s3{color:#8250df}.s4{color:#cf222e}.s5{color:#0a7b83}.s6{color:#57606a}\
.l{stroke:currentColor}.d,.n{fill:currentColor}\
@media(prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}\
.s0{color:#58a6ff}.s1{color:#d29922}.s2{color:#3fb950}.s3{color:#bc8cff}.s4{color:#ff7b72}.s5{color:#39c5cf}.s6{color:#9198a1}\
.n{fill:currentColor}}";

/// Nanoseconds over numbers of connections, both in powers of ten.
pub(super) fn draw(sizes: &[usize], lines: &[(&str, Vec<f64>)]) -> String {
    let values = || lines.iter().flat_map(|(_, values)| values.iter().copied());
    let low = values().fold(f64::INFINITY, f64::min).log10().floor();
    let high = values().fold(0.0, f64::max).log10().ceil().max(low + 1.0);
    let x = |index: usize| LEFT + 20.0 + (RIGHT - LEFT - 40.0) * index as f64 / (sizes.len() - 1) as f64;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * (value.log10() - low) / (high - low);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <title>What one connection or delivery costs, by the number of connections</title>\n<style>{STYLE}</style>\n\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\" rx=\"6\"/>\n\
         <text x=\"{LEFT}\" y=\"28\">CPU for each, without the kernel, by the number of connections</text>\n"
    );
    // Writing to a string cannot fail.
    for power in low as i32..=high as i32 {
        let (at, name) = (y(10f64.powi(power)), time(power));
        _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{RIGHT}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    for (index, size) in sizes.iter().enumerate() {
        let at = x(index);
        _ = writeln!(
            out,
            "<line class=\"grid\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{BOTTOM}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            BOTTOM + 22.0,
            grouped(*size)
        );
    }
    for ((series, (name, values)), label) in lines.iter().enumerate().zip(labels(lines, y)) {
        let points: Vec<String> =
            values.iter().enumerate().map(|(index, value)| format!("{:.1},{:.1}", x(index), y(*value))).collect();
        _ = writeln!(out, "<g class=\"s{series}\"><polyline class=\"l\" points=\"{}\"/>", points.join(" "));
        for (index, value) in values.iter().enumerate() {
            _ = write!(out, "<circle class=\"d\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>", x(index), y(*value));
        }
        let last = values.last().copied().unwrap_or_default();
        _ = writeln!(
            out,
            "<text class=\"n\" x=\"{:.1}\" y=\"{:.1}\">{name}, {last:.0} ns</text></g>",
            RIGHT - 6.0,
            label + 4.0
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Where the lines' names go: beside their ends, as far as these leave room for each other.
fn labels(lines: &[(&str, Vec<f64>)], y: impl Fn(f64) -> f64) -> Vec<f64> {
    let ends: Vec<f64> = lines.iter().map(|(_, values)| y(values.last().copied().unwrap_or(1.0))).collect();
    let mut order: Vec<usize> = (0..ends.len()).collect();
    order.sort_by(|one, other| ends[*one].total_cmp(&ends[*other]));
    let mut places = ends.clone();
    let mut free = f64::NEG_INFINITY;
    for line in order {
        places[line] = ends[line].max(free);
        free = places[line] + LABEL;
    }
    places
}

fn time(power: i32) -> String {
    match power {
        ..=0 => "1 ns".into(),
        1 | 2 => format!("{} ns", 10f64.powi(power)),
        3..=5 => format!("{} µs", 10f64.powi(power - 3)),
        _ => format!("{} ms", 10f64.powi(power - 6)),
    }
}

fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join(",")
}
