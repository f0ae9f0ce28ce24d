//! The power supply of a simulated medium: on, off, or about to go.

use landfall_core::media::MediaError;

#[derive(Clone, Debug)]
pub(super) struct Power {
    on: bool,
    units: Option<u64>,
    syncs: Option<u64>,
    erases: Option<u64>,
}

/// What the power goes off in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// A unit that is programmed.
    Unit,
    /// A sync.
    Sync,
    /// An erase.
    Erase,
}

impl Step {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Unit, Self::Sync, Self::Erase];
}

impl Power {
    pub(super) const fn on() -> Self {
        Self { on: true, units: None, syncs: None, erases: None }
    }

    /// Lets the power go in the n-th such step from now.
    pub(super) fn arm(&mut self, step: Step, nth: u64) {
        assert!(nth > 0, "the next step is the first");
        *self.left(step) = Some(nth);
    }

    /// Counts a step; whether the power goes in it.
    pub(super) fn goes_in(&mut self, step: Step) -> bool {
        let left = self.left(step);
        *left = left.map(|left| left - 1);
        *left == Some(0)
    }

    pub(super) fn cut(&mut self) {
        *self = Self { on: false, ..Self::on() };
    }

    pub(super) fn restore(&mut self) {
        *self = Self::on();
    }

    pub(super) fn check(&self) -> Result<(), MediaError> {
        if self.on { Ok(()) } else { Err(MediaError::Failed) }
    }

    fn left(&mut self, step: Step) -> &mut Option<u64> {
        match step {
            Step::Unit => &mut self.units,
            Step::Sync => &mut self.syncs,
            Step::Erase => &mut self.erases,
        }
    }
}
