//! A model as operators over values: what a family's `build` makes, checked shape by shape as it grows.
//!
//! The methods that families call (`rms_norm`, `linear`, ...) stand beside their operators in [`crate::ops`]; here is
//! what they are made of. A graph keeps the first error and goes on, so that a family reads as a plain list;
//! [`Graph::finish`] returns it.

use std::cell::{Cell, RefCell};

use crate::{
    ops::{
        Operator,
        rope_table::{RopeConfig, RopeTable},
    },
    shape::{Rows, Shape},
};

/// A value of a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ValueId(u32);

/// A weight of a graph: a matrix whose rows come from one or more tensors, or a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(u32);

/// A table that the host computes when the graph is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableId(u32);

macro_rules! index {
    ($($id:ty),*) => { $(impl $id { pub(crate) fn index(self) -> usize { self.0 as usize } })* };
}
index!(ValueId, WeightId, TableId);

/// What a weight is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightDecl {
    /// The layer its names belong to; none for those outside layers.
    pub layer: Option<u32>,
    /// The tensors that are joined, by the engine's names, each with its number of rows, or of elements in a vector.
    pub tensors: Vec<(&'static str, u32)>,
    /// Columns, or the length of the whole vector.
    pub cols: u32,
    /// Whether it keeps its published format or becomes f32.
    pub kind: WeightKind,
    /// How many experts each tensor holds the rows, or elements, of, one after another; none for a tensor of its own.
    pub experts: Option<u32>,
}

/// How a weight is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightKind {
    /// A matrix in its published format, repacked.
    Matrix,
    /// A vector as f32.
    Vector,
    /// Filters of convolutions as f32, a row a channel.
    Filters,
}

/// The KV cache that one layer needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvDecl {
    /// Heads of keys and values.
    pub heads: u32,
    /// Elements of a head, even.
    pub head_dim: u32,
    /// Entries that a row sees, its own the last of them: the layer keeps no more than those; none: all before it.
    pub window: Option<u32>,
}

/// Recurrent state that one layer keeps of each sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateDecl {
    /// The layer.
    pub layer: Option<u32>,
    /// Elements, f32.
    pub elems: u32,
}

#[derive(Debug)]
pub(crate) struct Value {
    pub shape: Shape,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub op: Box<dyn Operator>,
    pub inputs: Vec<ValueId>,
    pub output: Option<ValueId>,
    pub label: String,
    /// The last part of a step, left out of steps that do not sample.
    pub samples: bool,
    /// Whether all of it works on output rows, and so is left out of steps without outputs.
    pub outputs_only: bool,
}

/// A table of the host's making.
#[derive(Debug)]
pub(crate) struct Table {
    pub label: String,
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Parts {
    values: Vec<Value>,
    nodes: Vec<Node>,
    weights: Vec<WeightDecl>,
    tables: Vec<Table>,
    kv: Vec<KvDecl>,
    states: Vec<StateDecl>,
    ties: Vec<(&'static str, &'static str)>,
    embedding: Option<ValueId>,
    output: Option<(ValueId, Output)>,
    error: Option<GraphError>,
}

/// A model being built.
#[derive(Debug, Default)]
pub struct Graph {
    parts: RefCell<Parts>,
    layer: Cell<Option<u32>>,
}

/// A checked model.
#[derive(Debug)]
pub struct Model {
    pub(crate) values: Vec<Value>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) weights: Vec<WeightDecl>,
    pub(crate) tables: Vec<Table>,
    pub(crate) kv: Vec<KvDecl>,
    pub(crate) states: Vec<StateDecl>,
    /// The value that holds the embedded tokens, `[rows, hidden]`.
    pub(crate) embedding: Option<ValueId>,
    /// The value that holds what the model gives, a row an output.
    pub(crate) output: ValueId,
    /// What that is.
    pub(crate) gives: Output,
}

/// What a model gives for the rows that outputs come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// A score for each token of the vocabulary to come next.
    Logits,
    /// A vector that stands for the text: its embedding. A step holds all of each text.
    Embeddings,
}

/// A graph whose operators do not fit together.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("{label}: {reason}")]
pub struct GraphError {
    /// The layer, operator and weight.
    pub label: String,
    /// What does not fit.
    pub reason: String,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// What follows belongs to layer `i`: its weights' names and its errors say so.
    pub fn layer(&self, i: u32) {
        self.layer.set(Some(i));
    }

    /// What follows belongs to no layer.
    pub fn outside_layers(&self) {
        self.layer.set(None);
    }

    /// From now on the weight `name` is the weight `other`: a checkpoint without an output head uses its embedding.
    pub fn tie(&self, name: &'static str, other: &'static str) {
        self.parts.borrow_mut().ties.push((name, other));
    }

    /// Declares a matrix whose rows are those of `tensors` in order. Declaring the same again gives the same weight.
    pub fn matrix(&self, tensors: &[(&'static str, u32)], cols: u32) -> WeightId {
        self.declare(WeightDecl { layer: self.layer.get(), tensors: tensors.to_vec(), cols, kind: WeightKind::Matrix, experts: None })
    }

    /// Declares a vector of `len` elements.
    pub fn vector(&self, name: &'static str, len: u32) -> WeightId {
        self.joined_vector(&[(name, len)])
    }

    /// Declares a vector whose elements are those of `tensors` (names and lengths) in order.
    pub fn joined_vector(&self, tensors: &[(&'static str, u32)]) -> WeightId {
        // A sum that does not fit gives a length that no operator asks for.
        let cols = tensors.iter().fold(0, |sum: u32, (_, len)| sum.saturating_add(*len));
        self.declare(WeightDecl { layer: self.layer.get(), tensors: tensors.to_vec(), cols, kind: WeightKind::Vector, experts: None })
    }

    /// Declares the matrices of a layer's experts: the rows of `tensors` (names and rows of an expert) in order, each with those of
    /// all experts.
    pub fn expert_matrices(&self, tensors: &[(&'static str, u32)], cols: u32, experts: u32) -> WeightId {
        let (layer, tensors) = (self.layer.get(), tensors.to_vec());
        self.declare(WeightDecl { layer, tensors, cols, kind: WeightKind::Matrix, experts: Some(experts) })
    }

    /// Declares vectors of a layer's experts in the same way.
    pub fn expert_vectors(&self, tensors: &[(&'static str, u32)], experts: u32) -> WeightId {
        let cols = tensors.iter().fold(0, |sum: u32, (_, len)| sum.saturating_add(*len)).saturating_mul(experts);
        let (layer, tensors) = (self.layer.get(), tensors.to_vec());
        self.declare(WeightDecl { layer, tensors, cols, kind: WeightKind::Vector, experts: Some(experts) })
    }

    fn declare(&self, mut decl: WeightDecl) -> WeightId {
        let Parts { weights, ties, .. } = &mut *self.parts.borrow_mut();
        for (name, _) in &mut decl.tensors {
            *name = ties.iter().find(|(tied, _)| tied == name).map_or(*name, |(_, other)| *other);
        }
        let index = weights.iter().position(|known| *known == decl).unwrap_or_else(|| {
            weights.push(decl);
            weights.len() - 1
        });
        WeightId(index as u32)
    }

    /// Adds a table of bytes (a multiple of 4) that kernels read. The same bytes give the same table.
    pub fn table(&self, label: &str, bytes: Vec<u8>) -> TableId {
        let tables = &mut self.parts.borrow_mut().tables;
        let index = tables.iter().position(|known| known.bytes == bytes).unwrap_or_else(|| {
            tables.push(Table { label: label.to_owned(), bytes });
            tables.len() - 1
        });
        TableId(index as u32)
    }

    /// Declares the KV cache of one more layer and returns its number.
    pub fn kv_layer(&self, decl: KvDecl) -> u32 {
        let kv = &mut self.parts.borrow_mut().kv;
        kv.push(decl);
        kv.len() as u32 - 1
    }

    /// The KV cache of a layer, if there is one of this number.
    pub(crate) fn kv_decl(&self, layer: u32) -> Option<KvDecl> {
        self.parts.borrow().kv.get(layer as usize).copied()
    }

    /// Declares filters of convolutions: `taps` elements for each of `channels`.
    pub fn filters(&self, name: &'static str, channels: u32, taps: u32) -> WeightId {
        self.declare(WeightDecl {
            layer: self.layer.get(),
            tensors: vec![(name, channels)],
            cols: taps,
            kind: WeightKind::Filters,
            experts: None,
        })
    }

    /// Declares recurrent state of `elems` elements a sequence and returns its number.
    pub fn state(&self, elems: u32) -> u32 {
        let states = &mut self.parts.borrow_mut().states;
        states.push(StateDecl { layer: self.layer.get(), elems });
        states.len() as u32 - 1
    }

    /// The KV cache of one more layer whose entries are of no use after the layer: where steps hold all of what their rows see, layers
    /// that are alike take turns with one.
    pub fn passing_kv_layer(&self, decl: KvDecl) -> u32 {
        let known = self.parts.borrow().kv.iter().position(|kv| *kv == decl);
        known.map_or_else(|| self.kv_layer(decl), |layer| layer as u32)
    }

    /// Columns of a value.
    pub fn cols(&self, value: ValueId) -> u32 {
        self.parts.borrow().values.get(value.index()).map_or(0, |value| value.shape.cols)
    }

    /// The shape of a value; that of a placeholder after a first error.
    pub(crate) fn shape(&self, value: ValueId) -> Shape {
        self.parts.borrow().values.get(value.index()).map_or(Shape { rows: Rows::Step, cols: 1 }, |value| value.shape)
    }

    /// Adds an operator. `detail` tells it from its like: the name of its weight. After a first error the graph goes on with
    /// placeholder values.
    pub fn push(&self, op: impl Operator + 'static, detail: &str, inputs: &[ValueId]) -> ValueId {
        self.add(op, detail, inputs, false).unwrap_or(ValueId(0))
    }

    /// Adds an operator that has no output.
    pub fn push_effect(&self, op: impl Operator + 'static, detail: &str, inputs: &[ValueId]) {
        self.add(op, detail, inputs, false);
    }

    /// Adds an operator that runs only in steps that end with [`crate::shape::Head::Sample`].
    pub fn push_sampling(&self, op: impl Operator + 'static, detail: &str, inputs: &[ValueId]) {
        self.add(op, detail, inputs, true);
    }

    /// Names the value that holds the embedded tokens. It is made by the first operator, so that rows which the host wrote are
    /// still there.
    pub(crate) fn set_embedding(&self, value: ValueId) {
        self.parts.borrow_mut().embedding.get_or_insert(value);
    }

    /// Names the value that holds the logits, `[outputs, vocab]`.
    pub fn set_logits(&self, value: ValueId) {
        self.parts.borrow_mut().output = Some((value, Output::Logits));
    }

    /// Names the value that holds texts' embeddings, a row an output.
    pub fn set_embeddings(&self, value: ValueId) {
        self.parts.borrow_mut().output = Some((value, Output::Embeddings));
    }

    /// Makes the table of a rotary embedding for positions under `positions`; settings that give none are the graph's error.
    pub fn rope_table(&self, config: &RopeConfig, positions: u32) -> RopeTable {
        RopeTable::new(config, positions).unwrap_or_else(|error| {
            let error = GraphError { label: "rope".into(), reason: error.to_string() };
            self.parts.borrow_mut().error.get_or_insert(error);
            RopeTable::none()
        })
    }

    fn add(&self, op: impl Operator + 'static, detail: &str, inputs: &[ValueId], samples: bool) -> Option<ValueId> {
        let parts = &mut *self.parts.borrow_mut();
        let layer = self.layer.get().map_or(String::new(), |i| format!("layer {i}: "));
        let label = format!("{layer}{}{}{detail}", op.name(), if detail.is_empty() { "" } else { " " });
        if parts.error.is_some() {
            return None;
        }
        let shapes: Vec<Shape> = inputs.iter().map(|id| parts.values[id.index()].shape).collect();
        match op.infer(&shapes) {
            Ok(shape) => {
                let output = shape.map(|shape| {
                    parts.values.push(Value { shape });
                    ValueId(parts.values.len() as u32 - 1)
                });
                let outputs_only = samples || shape.iter().chain(&shapes).any(|s| s.rows == Rows::Outputs);
                parts.nodes.push(Node { op: Box::new(op), inputs: inputs.to_vec(), output, label, samples, outputs_only });
                output
            }
            Err(reason) => {
                parts.error = Some(GraphError { label, reason });
                None
            }
        }
    }

    /// Ends the graph.
    ///
    /// # Errors
    /// The first operator that did not fit, or a graph that gives nothing.
    pub fn finish(self) -> Result<Model, GraphError> {
        let parts = self.parts.into_inner();
        if let Some(error) = parts.error {
            return Err(error);
        }
        let nothing = || GraphError { label: "graph".into(), reason: "it names no output".into() };
        let (output, gives) = parts.output.ok_or_else(nothing)?;
        let Parts { values, nodes, weights, tables, kv, states, embedding, .. } = parts;
        Ok(Model { values, nodes, weights, tables, kv, states, embedding, output, gives })
    }
}
