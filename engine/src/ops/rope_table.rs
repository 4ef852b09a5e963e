//! Angles of rotary position embeddings: the table that `rope_kv` reads.

mod frequencies;

use frequencies::require;
pub use frequencies::{
    Pairing, RopeConfig, RopeError, RopeScaling, Temperature, attention_factor, inverse_frequencies, yarn_attention_factor,
};

/// Positions that one row of the table's second part stands for.
const LOW_ROWS: u32 = 256;
/// Positions that a table may be made for: enough for any model, and a bound on what a hostile file can ask for.
pub const MAX_POSITIONS: u32 = 1 << 22;

/// The table that `rope_kv` reads. The angle of a position is the sum of those of its low and high part, so that a table
/// for a million positions has a few thousand rows; cos and sin are computed in f64.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeTable {
    pub(crate) pairs: u32,
    pub(crate) high_rows: u32,
    pub(crate) pairing: Pairing,
    /// Positions whose queries have the same factor; 0 where queries have none.
    pub(crate) period: u32,
    pub(crate) bytes: Vec<u8>,
}

impl RopeTable {
    /// The table for positions under `positions`, the context that a session is planned for.
    ///
    /// # Errors
    /// Settings outside what their formulas allow, no positions or more than [`MAX_POSITIONS`].
    pub fn new(config: &RopeConfig, positions: u32) -> Result<Self, RopeError> {
        require((1..=MAX_POSITIONS).contains(&positions), "number of positions", positions, "1 to 2^22")?;
        let frequencies = inverse_frequencies(config, positions)?;
        if frequencies.is_empty() {
            return Ok(Self::none());
        }
        let factor = attention_factor(&config.scaling);
        let high_rows = positions.div_ceil(LOW_ROWS);
        let axis = |i: usize| config.axes.get(i).map_or(0.0, |&axis| f32::from(axis));
        let mut entries: Vec<[f32; 2]> = (0..frequencies.len()).map(|i| [axis(i), 0.0]).collect();
        let mut part = |rows: u32, step: u32, amplitude: f64| {
            for row in 0..rows {
                entries.extend(frequencies.iter().map(|f| {
                    let (sin, cos) = (f64::from(row) * f64::from(step) * f).sin_cos();
                    [(amplitude * cos) as f32, (amplitude * sin) as f32]
                }));
            }
        };
        part(LOW_ROWS, 1, factor);
        part(high_rows, LOW_ROWS, 1.0);
        if let Some(Temperature { beta, period }) = config.temperature {
            let factors = (high_rows * LOW_ROWS - 1) / period + 1;
            entries.extend((0..factors).map(|i| [(beta * f64::from(i).ln_1p() + 1.0) as f32, 0.0]));
        }
        let bytes = bytemuck::cast_slice(&entries).to_vec();
        let period = config.temperature.map_or(0, |temperature| temperature.period);
        Ok(Self { pairs: frequencies.len() as u32, high_rows, pairing: config.pairing, period, bytes })
    }

    /// The table of layers without a rotary embedding.
    pub fn none() -> Self {
        Self { pairs: 0, high_rows: 1, pairing: Pairing::Half, period: 0, bytes: vec![0; 8] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_the_table_make_up_every_angle() {
        let config = RopeConfig::new(1e4, 8, Pairing::Half);
        let table = RopeTable::new(&config, 5000).unwrap();
        let entries: &[[f32; 2]] = bytemuck::cast_slice(&table.bytes);
        assert_eq!((table.pairs, table.high_rows, entries.len()), (4, 20, 4 * (1 + 256 + 20)));
        for position in [0usize, 1, 255, 256, 4097, 4999] {
            for (pair, frequency) in inverse_frequencies(&config, 5000).unwrap().into_iter().enumerate() {
                let [a, b] = [entries[(1 + position % 256) * 4 + pair], entries[(257 + position / 256) * 4 + pair]];
                let (sin, cos) = (position as f64 * frequency).sin_cos();
                let error = [f64::from(a[0] * b[0] - a[1] * b[1]) - cos, f64::from(a[1] * b[0] + a[0] * b[1]) - sin];
                // Four roundings of numbers up to 1.
                assert!(error.iter().all(|e| e.abs() < 3e-7), "position {position}, pair {pair}: {error:?}");
            }
        }
    }

    #[test]
    fn tables_for_no_positions_or_too_many_are_refused() {
        let plain = RopeConfig::new(1e4, 8, Pairing::Half);
        assert_eq!(RopeTable::new(&plain, 0).unwrap_err().field, "number of positions");
        assert_eq!(RopeTable::new(&plain, u32::MAX).unwrap_err().field, "number of positions");
    }
}
