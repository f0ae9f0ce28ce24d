//! Inputs close to one that is kept: it cut short, and it changed at random.

use super::Cost;
use landfall_simulation::rng::Rng;

/// Most prefixes and most random changes of an input.
const MOST: [(Cost, usize, u64); 2] = [(Cost::Low, 256, 400), (Cost::High, 50, 60)];

/// Calls `each` with the input, prefixes of it, and changes of it that follow from `seed`; first
/// with a name.
pub fn neighbours(input: &[u8], cost: Cost, seed: u64, each: &mut dyn FnMut(&str, &[u8])) {
    each("as it is", input);
    let found = MOST.iter().find(|(of, ..)| *of == cost);
    let Some((_, prefixes, changes)) = found else { return };
    for len in (0..input.len()).step_by(input.len().div_ceil(*prefixes).max(1)) {
        each(&format!("its first {len} bytes"), &input[..len]);
    }
    for change in 0..*changes {
        let mut changed = input.to_vec();
        let mut rng = Rng::new(seed ^ change << 32);
        (0..=rng.below(3)).for_each(|_| mutate(&mut changed, &mut rng));
        each(&format!("change {change} of seed {seed}"), &changed);
    }
}

/// Numbers at which something changes.
const EDGES: [u64; 8] = [0, 1, 127, 255, 1 << 16, u32::MAX as u64, 1 << 62, u64::MAX];

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let at = rng.below(bytes.len() as u64 + 1) as usize;
    let len = rng.below(16) as usize;
    let end = (at + len).min(bytes.len());
    match rng.below(6) {
        0 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << rng.below(8)),
        1 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = rng.u64() as u8),
        2 => drop(bytes.drain(at..end)),
        3 => {
            let again = bytes[at..end].to_vec();
            bytes.splice(at..at, again);
        }
        4 => {
            let mut new = vec![0; len];
            rng.fill(&mut new);
            bytes.splice(at..at, new);
        }
        _ => {
            let edge = rng.pick(&EDGES).to_le_bytes();
            let width = 1 << rng.below(4);
            bytes[at..].iter_mut().zip(&edge[..width]).for_each(|(old, new)| *old = *new);
        }
    }
}
