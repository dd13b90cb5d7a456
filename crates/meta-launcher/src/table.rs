//! Tables on stdout.

use comfy_table::{CellAlignment, Table, TableStyle};

/// Columns by width, without lines; a column of numbers goes to the right.
pub(crate) fn render(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.collect();
    let mut table = Table::new();
    table.load_style(TableStyle::new()).set_header(header.iter().copied()).add_rows(&rows);
    for column in 0..header.len() {
        let is_number = |row: &Vec<String>| row.get(column).is_some_and(|cell| cell.parse::<u64>().is_ok());
        if let Some(column) = table.column_mut(column) {
            column.set_padding((0, 2));
            if !rows.is_empty() && rows.iter().all(is_number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}
