//! A plain table for people: columns by width, numbers to the right.

use std::fmt;

/// Rows of cells below a header.
#[derive(Debug)]
pub struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(header: [&str; N]) -> Self {
        Self { header: header.map(str::to_owned).into(), rows: Vec::new() }
    }

    /// Adds a row; missing cells are empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        let mut cells: Vec<String> = cells.into_iter().map(Into::into).collect();
        cells.resize(self.header.len(), String::new());
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = std::iter::once(&self.header).chain(&self.rows);
        cells.map(|row| row[column].chars().count()).max().unwrap_or_default()
    }

    /// A column of numbers (and of cells without any) goes to the right.
    fn is_number(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().map(|row| row[column].as_str()).filter(|cell| !cell.is_empty());
        cells.all(|cell| {
            let word = cell.split_whitespace().next().unwrap_or_default();
            word == "-" || word.parse::<f64>().is_ok()
        })
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = self.width(column);
                let gap = if column == 0 { "" } else { "  " };
                let padding = " ".repeat(width - cell.chars().count());
                line += gap;
                let (left, right) =
                    if self.is_number(column) { (padding.as_str(), "") } else { ("", padding.as_str()) };
                line += left;
                line += cell;
                line += right;
            }
            writeln!(formatter, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn words_go_left_and_numbers_right() {
        let mut table = Table::new(["what", "ms", "note"]);
        table.row(["a long name", "1.5", "fast"]);
        table.row(["b", "101.0"]);
        table.row(["c", "-", "none"]);
        let lines = [
            "what            ms  note",
            "a long name    1.5  fast",
            "b            101.0",
            "c                -  none",
        ];
        assert_eq!(table.to_string(), lines.join("\n") + "\n");
    }
}
