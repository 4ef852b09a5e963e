// Which rows of W a product takes: all of them in order, or, for each row of results, those of an expert that was chosen for it.
// W then has the rows of all experts tensor by tensor, and may be a part of them.
// The kernel's Params have `y_offset`, and for chosen rows `used`, `x_each`, `chosen_stride`, `expert_rows` and `tensor_rows`.

// The numbers of the experts of each token, [tokens, chosen_stride]; anything where EXPERTS is false.
@group(0) @binding(6) var<storage, read> chosen: array<u32>;

// Whether rows are chosen.
override EXPERTS: bool = false;

// The row of W that gives column `output` of row `z` of the results; where W is a part that has it not, a number past its rows.
fn weight_row(output: u32, z: u32) -> u32 {
    if !EXPERTS {
        return output;
    }
    let expert = chosen[z / params.used * params.chosen_stride + z % params.used];
    let tensor = output / params.expert_rows;
    return tensor * params.tensor_rows + expert * params.expert_rows + output % params.expert_rows - params.y_offset;
}

// The row of x that row `z` of the results is made of.
fn x_row(z: u32) -> u32 {
    if EXPERTS {
        return z / params.x_each;
    }
    return z;
}

// The column of y for column `output` of the results.
fn y_column(output: u32) -> u32 {
    if EXPERTS {
        return output;
    }
    return params.y_offset + output;
}
