// Causal convolution of each channel over the tokens of its sequence: conv[t, c] = sum over i of w[c, i] * u[t - (TAPS - 1) + i, c].
// Gated: a row of x is [b | g | v] and u = b * v, y = g * conv. Otherwise u is the beginning of a row of x and y = SiLU(conv).
// The tokens before a run are its sequence's state: the last TAPS - 1 values of u, oldest first. The state after the run is written.
// Grid: x and y linear over rows and channels of a run, z = run.
// Needs: TAPS of at least 2. A run of more than one row must not write the slot that it reads.
#import grid
#import run

struct Params {
    channels: u32,
    // Elements from one row of `x` to the next.
    x_stride: u32,
    // Elements from one row of `y` to the next.
    y_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> runs: array<Run>;
// [rows, x_stride]
@group(0) @binding(2) var<storage, read> x: array<f32>;
// [channels, TAPS]
@group(0) @binding(3) var<storage, read> w: array<f32>;
// [slots, TAPS - 1, channels]
@group(0) @binding(4) var<storage, read_write> state: array<f32>;
// [rows, y_stride]
@group(0) @binding(5) var<storage, read_write> y: array<f32>;

// Invocations of a workgroup.
override WG: u32 = 128u;
override TAPS: u32 = 3u;
override GATED: bool = true;
// Values that the state has of each channel.
override KEPT: u32 = TAPS - 1u;

fn state_at(slot: u32, i: u32, c: u32) -> u32 {
    return (slot * KEPT + i) * params.channels + c;
}

// u of a row of the step.
fn convolved(row: u32, c: u32) -> f32 {
    let at = row * params.x_stride + c;
    if GATED {
        return x[at] * x[at + 2u * params.channels];
    }
    return x[at];
}

// u of row `row` of a run with the KEPT values of the state before it: row KEPT is the run's first.
fn value(run: Run, row: u32, c: u32) -> f32 {
    if row >= KEPT {
        return convolved(run.first + row - KEPT, c);
    }
    if run.read == EMPTY {
        return 0.0;
    }
    return state[state_at(run.read, row, c)];
}

@compute @workgroup_size(WG)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let run = runs[id.z];
    let element = group_index(id, groups) * WG + lane;
    let row = element / params.channels;
    if row >= run.rows {
        return;
    }
    let c = element % params.channels;
    var sum = 0.0;
    for (var i = 0u; i < TAPS; i++) {
        sum += w[c * TAPS + i] * value(run, row + i, c);
    }
    let source = run.first + row;
    if GATED {
        sum *= x[source * params.x_stride + params.channels + c];
    } else {
        // v / (1 + exp(-v)), whose exponential cannot overflow
        let e = exp(-abs(sum));
        sum = sum * select(e, 1.0, sum >= 0.0) / (1.0 + e);
    }
    y[source * params.y_stride + c] = sum;

    // A run shorter than the state leaves its newest values there. In one slot each is read before it is overwritten.
    if row == 0u {
        for (var i = 0u; i + run.rows < KEPT; i++) {
            state[state_at(run.write, i, c)] = value(run, i + run.rows, c);
        }
    }
    if row + KEPT >= run.rows {
        state[state_at(run.write, row + KEPT - run.rows, c)] = convolved(source, c);
    }
}
