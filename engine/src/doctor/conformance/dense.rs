//! The dense kernels: every weight format, reduction and tile over many shapes.

use parhelion_shaders::{
    activate as activate_kernel, add as add_kernel,
    axes::{Delta, Reduce, Tile, Weight},
    embed as embed_kernel, gather_rows as gather_kernel, layer_norm as layer_norm_kernel, matmul as matmul_kernel, matvec as matvec_kernel,
    mean_rows as mean_rows_kernel, mix_experts as mix_kernel, rms_norm as norm_kernel, rms_norm_columns as range_norm_kernel,
    route as route_kernel, scale_logits as scale_logits_kernel,
};

use super::Listed;
use crate::{
    doctor::dense::{
        Addition, Centring, Embedding, ExpertProduct, Gate, Gathering, LogitScaling, Mixture, Normalisation, Pooling, Product,
        RangeNormalisation, Routing, Scales, whole_blocks,
    },
    exec::DeviceInfo,
    ops::{activate::Activation, embed::EntryOf},
};

/// Rows of x, rows and columns of the matrix: one of each, whole blocks and tiles, and none of them whole.
const FEW: [[u32; 3]; 8] = [[1, 1, 1], [1, 1, 32], [1, 5, 33], [2, 7, 31], [1, 130, 576], [4, 33, 100], [1, 3, 4096], [3, 65, 2080]];
const MANY: [[u32; 3]; 7] = [[5, 1, 1], [5, 3, 31], [33, 65, 33], [64, 64, 64], [100, 130, 576], [6, 70, 2080], [1, 33, 96]];

/// More workgroups than one dimension of a grid can have.
const BEYOND_A_DIMENSION: u32 = 65_537;

/// Lanes that are a multiple of every subgroup of the device, and rows of weights for them.
fn lane_choices(device: &DeviceInfo) -> [(u32, u32); 4] {
    let least = device.limits.subgroup_max.max(8);
    [(least, 1), (least.max(32), 2), (64, 4), (128, 1)]
}

/// Formats that are run on every shape with every set of constants. The others share the kernels, which these try out, and differ in
/// how a block is read: they are run on a few shapes, with one set of constants, since making pipelines takes most of the time.
fn thorough(format: Weight) -> bool {
    matches!(format, Weight::F32 | Weight::F16 | Weight::Bf16 | Weight::Q8_0 | Weight::Q4_0 | Weight::Q4_1)
}

fn products(shapes: &[[u32; 3]], format: Weight) -> impl Iterator<Item = Product> {
    let (first, step) = if thorough(format) { (0, 1) } else { (1, 2) };
    shapes.iter().skip(first).step_by(step).enumerate().map(move |(i, &[x_rows, rows, cols])| Product {
        y_offset: [0, 7, 32][i % 3],
        bias: i % 2 == 1,
        ..Product::new(format, x_rows, rows, whole_blocks(format, cols))
    })
}

/// Magnitudes near the ends of f32: nothing on the way may overflow or be lost.
fn extreme(format: Weight, x_rows: u32) -> impl Iterator<Item = Product> {
    [1e30, 1e-30].into_iter().map(move |magnitude| Product {
        magnitude,
        bias: magnitude > 1.0,
        ..Product::new(format, x_rows, 37, whole_blocks(format, 200))
    })
}

/// `matvec` with every reduction.
pub fn matvec(device: &DeviceInfo, format: Weight) -> Vec<Listed> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        let mut list = |product: Product, (lanes, rows): (u32, u32)| {
            let listed = Listed::new(matvec_kernel::kernel(format, reduce), move || product.matvec(reduce, lanes, rows));
            cases.push(listed.large(product.rows == BEYOND_A_DIMENSION));
        };
        let choices = lane_choices(device);
        for (i, product) in products(&FEW, format).chain(extreme(format, 2)).enumerate() {
            // Formats take turns with the constants.
            list(product, choices[if thorough(format) { i } else { format as usize } % 4]);
        }
        if thorough(format) {
            let columns = whole_blocks(format, 320);
            choices.into_iter().for_each(|choice| list(Product { bias: true, ..Product::new(format, 1, 70, columns) }, choice));
            list(Product::new(format, 1, BEYOND_A_DIMENSION, whole_blocks(format, 32)), (128, 1));
        }
    }
    cases
}

/// `matvec` with experts: one token and several, shared and own rows of x, parts that begin and end within an expert.
pub fn experts(device: &DeviceInfo, format: Weight) -> Vec<Listed> {
    let product = |tokens, experts, rows, cols| ExpertProduct::new(format, tokens, experts, rows, whole_blocks(format, cols));
    let mut products = vec![
        ExpertProduct { tensors: [2, 19], bias: true, ..product(3, [2, 5], 19, 96) },
        ExpertProduct { shared: false, part: Some(30..113), ..product(2, [3, 4], 37, 70) },
        product(1, [1, 1], 1, 1),
        ExpertProduct { tensors: [3, 5], part: Some(18..47), bias: true, ..product(5, [4, 4], 5, 33) },
        ExpertProduct { shared: false, bias: true, ..product(1, [8, 40], 65, 576) },
        ExpertProduct { tensors: [2, 64], ..product(40, [6, 9], 64, 64) },
        ExpertProduct { magnitude: 1e30, bias: true, ..product(2, [2, 3], 21, 200) },
        ExpertProduct { magnitude: 1e-30, shared: false, ..product(2, [2, 3], 21, 200) },
    ];
    products.truncate(if thorough(format) { 8 } else { 2 });
    let choices = lane_choices(device);
    let reduced = Reduce::ALL.iter().flat_map(|&reduce| products.iter().cloned().enumerate().map(move |(i, product)| (reduce, i, product)));
    let list = |(reduce, i, product): (Reduce, usize, ExpertProduct)| {
        let (lanes, rows) = choices[(i + format as usize) % 4];
        Listed::new(matvec_kernel::kernel(format, reduce), move || product.case(reduce, lanes, rows))
    };
    reduced.map(list).collect()
}

/// `route` with every kind of score, ties among logits, one expert and as many as can be.
pub fn route() -> Vec<Listed> {
    let mut cases = Vec::new();
    for (sigmoid, biased, renormalise) in (0..8).map(|i| (i & 1 > 0, i & 2 > 0, i & 4 > 0)) {
        let base = Routing { tokens: 3, experts: [8, 128], sigmoid, biased, renormalise, magnitude: 4.0 };
        // More tokens than a dimension of a grid has are enough once.
        let many = (sigmoid && biased && renormalise).then_some((BEYOND_A_DIMENSION, [4, 33]));
        let shapes = [(1, [1, 1]), (5, [2, 6]), (70, [6, 64]), (2, [64, 1024])].into_iter().chain(many);
        let shaped = shapes.map(|(tokens, experts)| Routing { tokens, experts, ..base });
        let sized = [1e-3, 40.0].map(|magnitude| Routing { magnitude, ..base });
        for routing in shaped.chain(sized) {
            let listed = Listed::new(route_kernel::kernel(), move || routing.case());
            cases.push(listed.large(routing.tokens == BEYOND_A_DIMENSION));
        }
    }
    cases
}

/// `mix_experts`.
pub fn mix_experts() -> Vec<Listed> {
    let shapes = [(1, 1, 1, 1.0), (3, 8, 33, 1.0), (2, 4, 2880, 1e30), (7, 6, 130, 1e-30), (BEYOND_A_DIMENSION, 2, 129, 1.0)];
    let list = |(tokens, used, cols, magnitude)| {
        let mixture = Mixture { tokens, used, cols, magnitude };
        Listed::new(mix_kernel::kernel(), move || mixture.case()).large(tokens == BEYOND_A_DIMENSION)
    };
    shapes.map(list).into()
}

/// `matmul` with every tile.
pub fn matmul(format: Weight) -> Vec<Listed> {
    let mut cases = Vec::new();
    for &tile in Tile::ALL {
        let mut list = |product: Product, size: u32| {
            let listed = Listed::new(matmul_kernel::kernel(format, tile), move || product.matmul(tile, size));
            cases.push(listed.large(product.rows.max(product.x_rows) == BEYOND_A_DIMENSION));
        };
        let sizes: &[u32] = if thorough(format) { &[32, 64] } else { &[32] };
        for product in products(&MANY, format).chain(extreme(format, 9)) {
            sizes.iter().for_each(|&size| list(product, size));
        }
        if thorough(format) {
            list(Product::new(format, 5, BEYOND_A_DIMENSION, whole_blocks(format, 32)), 64);
            list(Product::new(format, BEYOND_A_DIMENSION, 5, whole_blocks(format, 32)), 32);
            list(Product::new(format, 16, 4, whole_blocks(format, 70)), 4);
        }
    }
    cases
}

/// `embed`, with ordinary and with all scales.
pub fn embed(format: Weight) -> Vec<Listed> {
    let shapes = [(1, 1, 1), (5, 33, 8), (50, 576, 17), (40, 31, 100), (3, 96, BEYOND_A_DIMENSION)];
    let first_tokens = [0, 1000, u32::MAX - 60];
    let mut cases = Vec::new();
    for scales in [Scales::Moderate, Scales::Any] {
        for (i, (tokens, cols, rows)) in shapes.into_iter().enumerate().filter(|(i, _)| thorough(format) || i % 2 == 1) {
            let cols = whole_blocks(format, cols);
            let (first_token, index) = (first_tokens[i % 3], EntryOf::Token);
            let embedding = Embedding { format, first_token, tokens, cols, rows, scales, index, add: false };
            cases.push(Listed::new(embed_kernel::kernel(format), move || embedding.case()).large(rows == BEYOND_A_DIMENSION));
        }
    }
    cases
}

/// `embed` by positions and by nothing, added to what is there.
pub fn add_embedding() -> Vec<Listed> {
    let formats = [Weight::F32, Weight::F16, Weight::Bf16, Weight::Q8_0];
    let shapes = [(1, 1, 1), (5, 33, 8), (50, 576, 17), (3, 96, BEYOND_A_DIMENSION)];
    let mut cases = Vec::new();
    for (format, index) in formats.into_iter().flat_map(|format| EntryOf::ALL.map(|index| (format, index))) {
        for (tokens, cols, rows) in shapes {
            let (first_token, cols) = (if index == EntryOf::First { 0 } else { 3 }, whole_blocks(format, cols));
            let embedding = Embedding { format, first_token, tokens, cols, rows, scales: Scales::Moderate, index, add: true };
            cases.push(Listed::new(embed_kernel::kernel(format), move || embedding.case()).large(rows == BEYOND_A_DIMENSION));
        }
    }
    cases
}

/// `layer_norm` with every reduction, with and without something added.
pub fn layer_norm() -> Vec<Listed> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        for &delta in Delta::ALL {
            let mut list = |norm: Centring| {
                let kernel = layer_norm_kernel::kernel(delta, reduce);
                cases.push(Listed::new(kernel, move || norm.case()).large(norm.rows == BEYOND_A_DIMENSION));
            };
            let plain = Centring { delta, reduce, rows: 4, cols: 130, magnitude: 1.0, offset: 0.0 };
            let shapes = [(1, 1), (3, 3), (2, 511), (5, 576), (2, 4097), (BEYOND_A_DIMENSION, 9)];
            shapes.into_iter().for_each(|(rows, cols)| list(Centring { rows, cols, ..plain }));
            // Up to where the sum of squares is still a number, and down to where only eps is left.
            [1e17, 100.0, 1e-4, 1e-22].into_iter().for_each(|magnitude| list(Centring { magnitude, ..plain }));
            // means many times the deviations
            [10.0, -1000.0].into_iter().for_each(|offset| list(Centring { offset, ..plain }));
        }
    }
    cases
}

/// `mean_rows` of sequences short and long.
pub fn mean_rows() -> Vec<Listed> {
    let list = |(sequences, cols): (Vec<u32>, u32)| {
        let large = sequences.len() > 1000;
        let pooling = Pooling { sequences, cols };
        Listed::new(mean_rows_kernel::kernel(), move || pooling.case()).large(large)
    };
    let shapes = [(vec![1], 1), (vec![2, 1, 40], 33), (vec![513, 7], 576), (vec![1; 300], 5), (vec![1; BEYOND_A_DIMENSION as usize], 257)];
    shapes.into_iter().map(list).collect()
}

/// `rms_norm` with every reduction, with and without something added.
pub fn rms_norm() -> Vec<Listed> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        for &delta in Delta::ALL {
            let mut list = |norm: Normalisation| {
                cases.push(Listed::new(norm_kernel::kernel(delta, reduce), move || norm.case()).large(norm.rows == BEYOND_A_DIMENSION));
            };
            let plain = Normalisation { delta, reduce, rows: 4, cols: 130, magnitude: 1.0, delta_scale: 1.0 };
            let shapes = [(1, 1), (3, 3), (2, 511), (5, 576), (2, 4097), (BEYOND_A_DIMENSION, 9)];
            shapes.into_iter().for_each(|(rows, cols)| list(Normalisation { rows, cols, ..plain }));
            // Up to where the sum of squares is still a number, and down to where only eps is left.
            [1e17, 100.0, 1e-4, 1e-22].into_iter().for_each(|magnitude| list(Normalisation { magnitude, ..plain }));
            list(Normalisation { delta_scale: 0.22, ..plain });
        }
    }
    cases
}

/// `rms_norm_columns` with every reduction.
pub fn rms_norm_columns() -> Vec<Listed> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        let mut list = |norm: RangeNormalisation| {
            let listed = Listed::new(range_norm_kernel::kernel(reduce), move || norm.case());
            cases.push(listed.large(norm.rows == BEYOND_A_DIMENSION));
        };
        let plain = RangeNormalisation { reduce, rows: 4, ranges: [96, 32], magnitude: 1.0 };
        let shapes = [(1, [1, 1]), (3, [3, 5]), (2, [511, 129]), (5, [576, 192]), (BEYOND_A_DIMENSION, [4, 3])];
        shapes.into_iter().for_each(|(rows, ranges)| list(RangeNormalisation { rows, ranges, ..plain }));
        [1e17, 1e-4, 1e-22].into_iter().for_each(|magnitude| list(RangeNormalisation { magnitude, ..plain }));
    }
    cases
}

/// `activate` with every function, gated and not.
pub fn activate() -> Vec<Listed> {
    let list = |gate: Gate| Listed::new(activate_kernel::kernel(), move || gate.case()).large(gate.rows == BEYOND_A_DIMENSION);
    let mut cases = Vec::new();
    for &activation in Activation::ALL {
        for gated in [true, false] {
            let shapes = [(1, 1), (3, 2), (7, 33), (2, 1536), (BEYOND_A_DIMENSION, 129)];
            cases.extend(shapes.map(|(rows, cols)| list(Gate { activation, gated, rows, cols, magnitude: 8.0 })));
            // Where the exponential leaves f32, at either end.
            let largest = if activation == Activation::ReluSquared { 1e10 } else { 1e15 };
            cases.extend([1e-15, 200.0, largest].map(|magnitude| list(Gate { activation, gated, rows: 4, cols: 100, magnitude })));
        }
    }
    cases
}

/// `add`.
pub fn add() -> Vec<Listed> {
    let shapes = [(1, 1, 1.0), (3, 33, 0.22), (7, 576, 1.0), (2, 4097, -2.0), (BEYOND_A_DIMENSION, 129, 1.0)];
    let list = |(rows, cols, scale)| {
        let addition = Addition { rows, cols, scale };
        Listed::new(add_kernel::kernel(), move || addition.case()).large(rows == BEYOND_A_DIMENSION)
    };
    shapes.map(list).into()
}

/// `scale_logits` with and without a cap.
pub fn scale_logits() -> Vec<Listed> {
    let shapes = [(1, 1, 1.0), (3, 33, 30.0), (2, 4097, 1000.0), (4, 100, 1e-3), (4, 100, 1e15), (BEYOND_A_DIMENSION, 129, 30.0)];
    let list = |(rows, cols, magnitude), cap| {
        let scaling = LogitScaling { rows, cols, scale: if cap == Some(30.0) { 1.0 } else { 0.125 }, cap, magnitude };
        Listed::new(scale_logits_kernel::kernel(), move || scaling.case()).large(rows == BEYOND_A_DIMENSION)
    };
    [None, Some(30.0), Some(0.5)].into_iter().flat_map(|cap| shapes.map(|shape| list(shape, cap))).collect()
}

/// `gather_rows`.
pub fn gather_rows() -> Vec<Listed> {
    let shapes = [(1, 1, 1), (9, 4, 33), (100, 7, 576), (70_000, BEYOND_A_DIMENSION, 5)];
    let list = |(rows, count, cols)| {
        Listed::new(gather_kernel::kernel(), move || Gathering { rows, count, cols }.case()).large(count == BEYOND_A_DIMENSION)
    };
    shapes.into_iter().map(list).collect()
}
