//! Cases of the dense kernels: embedding, products with weight matrices, normalisation, gating, gathers.

use parhelion_shaders::{
    axes::{Delta, Reduce, Tile, Weight},
    embed, grid, matmul, matvec,
    shared::Row,
};

use super::{Bound, Case, Operand, Rng};
use crate::{
    formats,
    ops::{
        activate::Activation,
        blocks::{BLOCK, Planes},
        embed::EntryOf,
        linear::in_order,
    },
};

mod experts;
mod layers;
mod rows;
mod weights;

pub use experts::{ExpertProduct, Mixture, Routing};
pub use layers::{Centring, Pooling};
pub use rows::{Addition, Gate, Gathering, LogitScaling, Normalisation, RangeNormalisation};
pub use weights::{Scales, WeightData};

/// Half a unit in the last place of 1: what one rounding loses at the most, relative to the result.
pub(super) const ROUNDING: f64 = 1.0 / (1u64 << 24) as f64;

/// x times a weight matrix, with random data.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    /// Format of the weights.
    pub format: Weight,
    /// Rows of x.
    pub x_rows: u32,
    /// Rows of the matrix.
    pub rows: u32,
    /// Columns of the matrix and of x.
    pub cols: u32,
    /// Column of y that the first row gives.
    pub y_offset: u32,
    /// Largest magnitude in x.
    pub magnitude: f32,
    /// Whether a bias is added.
    pub bias: bool,
}

/// A product's data, and what its results may differ by.
struct ProductData {
    x: Vec<f32>,
    weights: WeightData,
    bias: Vec<f32>,
    y: Operand,
    x_stride: u32,
    y_stride: u32,
}

impl Product {
    /// Plain shapes: x of magnitude 1, results from the first column on.
    pub fn new(format: Weight, x_rows: u32, rows: u32, cols: u32) -> Self {
        Self { format, x_rows, rows, cols, y_offset: 0, magnitude: 1.0, bias: false }
    }

    fn label(&self) -> String {
        let Self { x_rows, rows, cols, y_offset, magnitude, bias, .. } = self;
        let bias = if *bias { " with a bias" } else { "" };
        format!("{rows} x {cols} times {x_rows} rows of magnitude {magnitude:e}, to column {y_offset}{bias}")
    }

    fn data(&self, extra: impl Fn(&TermSizes) -> f64) -> ProductData {
        let mut rng = Rng::new(u64::from(self.cols) << 32 | u64::from(self.rows));
        let (x_stride, y_stride) = (self.cols.next_multiple_of(4), (self.y_offset + self.rows).next_multiple_of(4));
        let x = padded_rows(&mut rng, self.x_rows, self.cols, x_stride, self.magnitude);
        let weights = WeightData::new(&mut rng, self.format, self.rows, self.cols, Scales::Moderate);
        let bias = rng.floats((self.y_offset + self.rows) as usize, self.magnitude);
        let mut bounds = self.bounds(&x, &weights, y_stride as usize, extra);
        if self.bias {
            let sizes = || bias.iter().map(|bias| (2.0 * ROUNDING) as f32 * bias.abs());
            bounds.chunks_mut(y_stride as usize).for_each(|row| row.iter_mut().zip(sizes()).for_each(|(bound, size)| *bound += size));
        }
        let cols = (self.y_offset + self.rows) as usize;
        let y = Operand::output(self.x_rows as usize, cols, y_stride as usize, Bound::each(move |index, _| bounds[index]));
        ProductData { x, weights, bias, y, x_stride, y_stride }
    }

    /// For each element of y what two sums over the same terms in different orders can differ by: a kernel adds up blocks of 32
    /// columns before they join a chain over at most all blocks, and each operation rounds once. `extra` comes on top.
    fn bounds(&self, x: &[f32], weights: &WeightData, y_stride: usize, extra: impl Fn(&TermSizes) -> f64) -> Vec<f32> {
        let (cols, stride) = (self.cols as usize, self.cols.next_multiple_of(4) as usize);
        let mut bounds = vec![0.0; self.x_rows as usize * y_stride];
        for n in 0..self.rows as usize {
            let w = weights.magnitudes(n);
            for (m, x) in x.chunks(stride).enumerate() {
                let sizes = TermSizes::new(&w[..cols], &x[..cols]);
                let depth = (cols.div_ceil(BLOCK) + BLOCK + usize::from(self.bias)) as f64;
                let bound = 2.0 * depth * ROUNDING * sizes.products + extra(&sizes);
                bounds[m * y_stride + self.y_offset as usize + n] = bound as f32;
            }
        }
        bounds
    }

    /// The case of `matvec`. `lanes` and `rows` are the constants of the kernel.
    pub fn matvec(&self, reduce: Reduce, lanes: u32, rows: u32) -> Case {
        let ProductData { x, weights, bias, y, x_stride, y_stride } = self.data(|_| 0.0);
        // Whole blocks are read either way.
        let ragged = !self.cols.is_multiple_of(BLOCK as u32) || rows == 1;
        let constants = matvec::Constants {
            wg: lanes.max(matvec::Constants::default().wg),
            lanes,
            rows,
            ragged,
            with_bias: self.bias,
            ..Default::default()
        };
        let [groups_x, groups_y] = grid(self.rows.div_ceil(constants.wg / lanes * rows));
        let call = matvec::call(
            self.format,
            reduce,
            constants,
            in_order([self.rows, self.cols, weights.blocks], [x_stride, y_stride], self.y_offset),
            matvec::Bindings {
                x: Operand::new(&x),
                quants: weights.quants(),
                scales: weights.scales(),
                y,
                bias: Operand::new(&bias),
                chosen: Operand::new(&[0u32]),
            },
            [groups_x, groups_y, self.x_rows],
        );
        let label = format!("{}, {lanes} lanes for {rows} rows", self.label());
        Case { label, reason: "sums in different orders, one rounding an operation", call }
    }

    /// The case of `matmul` with square tiles of `size`.
    pub fn matmul(&self, tile: Tile, size: u32) -> Case {
        let ProductData { x, weights, bias, y, x_stride, y_stride } = match tile {
            Tile::F32 => self.data(|_| 0.0),
            Tile::F16 => self.data(TermSizes::f16_error),
        };
        let [groups_x, groups_y] = grid(self.x_rows.div_ceil(size) * self.rows.div_ceil(size));
        let call = matmul::call(
            self.format,
            tile,
            matmul::Constants { tile_x: size, tile_w: size, with_bias: self.bias },
            matmul::Params {
                x_rows: self.x_rows,
                rows: self.rows,
                cols: self.cols,
                blocks: weights.blocks,
                x_stride,
                y_stride,
                y_offset: self.y_offset,
            },
            matmul::Bindings { x: Operand::new(&x), quants: weights.quants(), scales: weights.scales(), y, bias: Operand::new(&bias) },
            [groups_x, groups_y, 1],
        );
        let reason = "sums in different orders, one rounding an operation; f16 tiles round every factor to 11 bits";
        Case { label: format!("{}, tiles of {size}", self.label()), reason, call }
    }
}

/// Sizes of the terms of one sum, which error bounds are made of.
struct TermSizes {
    /// The sum of |w x|.
    products: f64,
    /// The sum of each block's largest |x| times its |w|, and the other way round.
    peaks: f64,
}

impl TermSizes {
    fn new(w: &[f64], x: &[f32]) -> Self {
        let mut sizes = Self { products: 0.0, peaks: 0.0 };
        for (w, x) in w.chunks(BLOCK).zip(x.chunks(BLOCK)) {
            let peak = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
            let (peak_w, peak_x) = (peak(&mut w.iter().copied()), peak(&mut x.iter().map(|x| f64::from(x.abs()))));
            for (w, x) in w.iter().zip(x) {
                let x = f64::from(x.abs());
                sizes.products += w * x;
                sizes.peaks += peak_w * x + w * peak_x;
            }
        }
        sizes
    }

    /// What rounding both factors to f16 costs when each row of a block is scaled so that its largest value lies in [1, 2): half a
    /// unit in 11 bits of a normal number, and all of a subnormal one (under 2^-14) where those are flushed.
    fn f16_error(&self) -> f64 {
        self.products / 1023.0 + self.peaks / 16384.0
    }
}

/// Rows of random numbers whose padding is NaN, which must not reach a result.
pub(super) fn padded_rows(rng: &mut Rng, rows: u32, cols: u32, stride: u32, magnitude: f32) -> Vec<f32> {
    let mut values = vec![f32::NAN; rows as usize * stride as usize];
    for row in values.chunks_mut(stride as usize) {
        row[..cols as usize].fill_with(|| rng.float(magnitude));
    }
    values
}

/// Rows of a table in any weight format.
#[derive(Debug, Clone, Copy)]
pub struct Embedding {
    /// Format of the table.
    pub format: Weight,
    /// First token of the table's part.
    pub first_token: u32,
    /// Tokens of the part.
    pub tokens: u32,
    /// Columns.
    pub cols: u32,
    /// Rows of the step; some of them are of other parts.
    pub rows: u32,
    /// Scales of the blocks.
    pub scales: Scales,
    /// What names the entries.
    pub index: EntryOf,
    /// Whether entries are added to what is there.
    pub add: bool,
}

impl Embedding {
    /// The case.
    pub fn case(&self) -> Case {
        const SCALE: f32 = 2.0;
        let Self { format, first_token, tokens, cols, rows, index, add, .. } = *self;
        let mut rng = Rng::new(u64::from(cols));
        let weights = WeightData::new(&mut rng, format, tokens, cols, self.scales);
        let y_stride = cols.next_multiple_of(4);
        // Every fourth row is of another part and must stay as it is.
        let entries: Vec<u32> = (0..rows)
            .map(|i| match index {
                EntryOf::First => 0,
                _ if i % 4 == 3 => first_token.wrapping_add(tokens),
                _ => first_token + rng.below(tokens),
            })
            .collect();
        let step: Vec<Row> = (0..).zip(&entries).map(|(i, &entry)| index.row(entry, i)).collect();
        let before = if add { padded_rows(&mut rng, rows, cols, y_stride, 1.0) } else { Vec::new() };
        let mut bounds = vec![0.0; (rows * y_stride) as usize];
        for (at, (&entry, bounds)) in entries.iter().zip(bounds.chunks_mut(y_stride as usize)).enumerate() {
            let token = entry.wrapping_sub(first_token);
            if token >= tokens {
                continue;
            }
            let sizes = weights.magnitudes(token as usize).into_iter().zip(weights.flushed(token as usize));
            for (column, (bound, (size, flushed))) in bounds.iter_mut().zip(sizes).enumerate() {
                // the sum is rounded once more, or once in all where it is fused
                let there = before.get(at * y_stride as usize + column).map_or(0.0, |x| f64::from(x.abs()));
                *bound = (f64::from(SCALE) * (3.0 * ROUNDING * size + flushed) + ROUNDING * there) as f32;
            }
        }
        let constants = embed::Constants { index: index.code(), add, ..Default::default() };
        let [x, y] = grid((rows * weights.blocks).div_ceil(constants.wg));
        let bound = Bound::each(move |index, _| bounds[index]);
        let y_operand = match add {
            true => Operand::new(&before).floats(cols as usize, y_stride as usize, bound),
            false => Operand::output(rows as usize, cols as usize, y_stride as usize, bound),
        };
        let call = embed::call(
            format,
            constants,
            embed::Params { rows, first_token, tokens, cols, blocks: weights.blocks, y_stride, scale: SCALE },
            embed::Bindings { rows: Operand::new(&step), quants: weights.quants(), scales: weights.scales(), y: y_operand },
            [x, y, 1],
        );
        let added = if add { ", added" } else { "" };
        let label = format!("{rows} rows of {cols} from entries {first_token}+{tokens} by {index:?}{added}, {:?} scales", self.scales);
        Case { label, reason: "the rounding of one fused multiply-add; subnormal scales may be flushed", call }
    }
}

impl EntryOf {
    /// Row `i` of a step, which asks for `entry`; what does not name entries is another number.
    fn row(self, entry: u32, i: u32) -> Row {
        let (token, position) = match self {
            Self::Token => (entry, !entry),
            Self::Position | Self::First => (!entry, entry),
        };
        Row { token, sequence: 0, slot: i, begin: 0, end: i + 1, position: [position, i, i] }
    }
}

/// `cols` columns, filled up where a format's rows are made of longer blocks: no file ends inside one of those.
pub(crate) fn whole_blocks(format: Weight, cols: u32) -> u32 {
    match formats::info(format).columns() {
        BLOCK => cols,
        columns => cols.next_multiple_of(columns as u32),
    }
}

/// Small cases of every variant, for a device whose largest subgroup is `subgroup_max`.
pub fn small(subgroup_max: u32) -> Vec<Case> {
    let mut cases = vec![
        Gathering { rows: 9, count: 5, cols: 70 }.case(),
        Pooling { sequences: vec![3, 1, 17], cols: 70 }.case(),
        Addition { rows: 3, cols: 130, scale: 0.5 }.case(),
        LogitScaling { rows: 3, cols: 130, scale: 0.5, cap: Some(2.0), magnitude: 8.0 }.case(),
        Routing { tokens: 3, experts: [4, 70], sigmoid: false, biased: false, renormalise: true, magnitude: 4.0 }.case(),
        Mixture { tokens: 3, used: 4, cols: 130, magnitude: 2.0 }.case(),
    ];
    cases.extend(Activation::ALL.iter().map(|&activation| Gate { activation, gated: true, rows: 3, cols: 130, magnitude: 4.0 }.case()));
    for &reduce in Reduce::ALL {
        cases.push(RangeNormalisation { reduce, rows: 3, ranges: [129, 70], magnitude: 3.0 }.case());
        for &delta in Delta::ALL {
            cases.push(Normalisation { delta, reduce, rows: 3, cols: 577, magnitude: 3.0, delta_scale: 1.0 }.case());
            cases.push(Centring { delta, reduce, rows: 3, cols: 577, magnitude: 3.0, offset: 1.0 }.case());
        }
    }
    for &format in Weight::ALL {
        cases.push(
            Embedding {
                format,
                first_token: 7,
                tokens: 20,
                cols: whole_blocks(format, 96),
                rows: 9,
                scales: Scales::Moderate,
                index: EntryOf::Token,
                add: false,
            }
            .case(),
        );
        let few = Product::new(format, 2, 19, whole_blocks(format, 576));
        cases.extend(Reduce::ALL.iter().map(|&reduce| few.matvec(reduce, subgroup_max.max(32), 2)));
        let chosen = ExpertProduct { tensors: [2, 11], ..ExpertProduct::new(format, 2, [3, 5], 11, whole_blocks(format, 96)) };
        cases.extend(Reduce::ALL.iter().map(|&reduce| chosen.case(reduce, subgroup_max.max(32), 2)));
        let many = Product::new(format, 35, 37, whole_blocks(format, 160));
        cases.extend(Tile::ALL.iter().map(|&tile| many.matmul(tile, 32)));
    }
    cases
}
