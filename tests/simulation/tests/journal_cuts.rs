//! The power is cut in every unit, sync and erase of traces, and again in each of those that the
//! recovery takes. `cargo xtask sim --cuts N` goes on with more seeds.
//!
//! `LANDFALL_CASES` sets how many seeds are tried, `LANDFALL_SEED` where they begin.

use landfall_simulation::cuts::cut_everywhere;
use landfall_simulation::cuts::scene::{Scene, Size};

#[test]
fn every_step_of_small_journals() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("LANDFALL_SEED").unwrap_or(26);
    let cases = number("LANDFALL_CASES").unwrap_or(6);
    for seed in (first..).filter(|seed| Scene::draw(*seed).size == Size::Small).take(cases as usize)
    {
        let cuts = cut_everywhere(seed).unwrap_or_else(|text| panic!("{text}"));
        assert!(cuts.first > 0 && cuts.second > cuts.first, "{cuts:?}");
    }
}
