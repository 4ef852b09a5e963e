//! Lists in the order of a file: growing them within bounds, and looking names up in them.

/// Positions of a list's items in the order of their names: a lookup costs a binary search and no name is stored twice.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameIndex(Vec<u32>);

impl NameIndex {
    /// Indexes `count` items (at most `u32::MAX`) by `name`; `Err` is the position of an item whose name came before.
    pub(crate) fn build<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Result<Self, usize> {
        let mut order: Vec<u32> = (0..count as u32).collect();
        order.sort_unstable_by(|&a, &b| name(a as usize).cmp(name(b as usize)).then(a.cmp(&b)));
        match order.windows(2).find(|pair| name(pair[0] as usize) == name(pair[1] as usize)) {
            Some(pair) => Err(pair[1] as usize),
            None => Ok(Self(order)),
        }
    }

    /// The position of the item called `wanted`.
    pub(crate) fn find<'a>(&self, wanted: &str, name: impl Fn(usize) -> &'a str) -> Option<usize> {
        let at = self.0.binary_search_by(|&i| name(i as usize).cmp(wanted)).ok()?;
        self.0.get(at).map(|&i| i as usize)
    }
}

/// Makes room for one more item: by half of what there is, never past `expected` more. A list grown so never holds
/// more than 2.5 times its items while it moves, whatever count the file gave; doubling would hold three times.
pub(crate) fn reserve_gently<T>(items: &mut Vec<T>, expected: u64) {
    if items.len() == items.capacity() {
        let expected = usize::try_from(expected).unwrap_or(usize::MAX).max(1);
        items.reserve_exact((items.len() / 2).max(64).min(expected));
    }
}

/// The `most` names spelled most like `wanted`, the best first.
pub fn closest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>, most: usize) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = names.map(|name| (edit_distance(wanted, name), name)).collect();
    ranked.sort_unstable();
    ranked.truncate(most);
    ranked.into_iter().map(|(_, name)| name.to_owned()).collect()
}

/// Levenshtein's distance over bytes, each name's first 128.
fn edit_distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 128;
    let (a, b) = (&a.as_bytes()[..a.len().min(LONGEST)], &b.as_bytes()[..b.len().min(LONGEST)]);
    let mut row = [0_usize; LONGEST + 1];
    for (j, cell) in row.iter_mut().enumerate() {
        *cell = j;
    }
    for (i, &from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_names_and_reports_the_later_duplicate() {
        let names = ["b", "a", "c"];
        let index = NameIndex::build(3, |i| names[i]).unwrap();
        assert_eq!(["a", "b", "c", "d"].map(|name| index.find(name, |i| names[i])), [Some(1), Some(0), Some(2), None]);
        let names = ["b", "a", "b"];
        assert_eq!(NameIndex::build(3, |i| names[i]).unwrap_err(), 2);
    }

    #[test]
    fn ranks_names_by_edit_distance() {
        let names = ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "output.weight"];
        assert_eq!(closest("blk.0.atn_q.weight", names.into_iter(), 2), ["blk.0.attn_q.weight", "blk.0.attn_k.weight"]);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("", "abc"), 3);
    }
}
