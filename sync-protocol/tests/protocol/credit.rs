//! Whatever the sizes and however slowly a node consumes, credit is kept and never runs dry.

use landfall_protocol::limits::credit_bytes_min;
use landfall_protocol::session::{Config, SendError};
use proptest::prelude::*;

use crate::pair::{NORMAL, Pair, lane};

#[derive(Clone, Debug)]
enum Step {
    Say { lane: u8, bytes: usize },
    Settle,
    Consume { percent: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..2, 2_usize..69_000).prop_map(|(lane, bytes)| Step::Say { lane, bytes }),
        1 => Just(Step::Settle),
        1 => (0_usize..=100).prop_map(|percent| Step::Consume { percent }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_sender_never_overruns_its_credit_and_never_waits_for_ever(
        seed in any::<u64>(),
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut config = Config::standard(68 * 1024);
        config.credit_bytes = credit_bytes_min(config.frame_bytes_max);
        let mut pair = Pair::new(config, config, seed).opened();
        let (mut said, mut refused) = (0, 0);
        for step in steps {
            match step {
                Step::Say { lane, bytes } => match pair.dialer.say(lane, &vec![1; bytes]) {
                    Ok(()) => said += 1,
                    Err(SendError::NoCredit | SendError::NoRoom) => refused += 1,
                    Err(other) => prop_assert!(false, "{other}"),
                },
                Step::Settle => pair.settle(),
                Step::Consume { percent } => {
                    let part = pair.listener.heard.cost * percent / 100;
                    pair.listener.heard.cost -= part;
                    pair.listener.session.consume(part);
                }
            }
        }
        pair.settle();
        prop_assert_eq!(pair.listener.heard.bodies.len(), said, "{} refused", refused);
        prop_assert!(pair.listener.session.is_open(), "{:?}", pair.listener.session.closed());
        pair.listener.consume();
        pair.settle();
        let session = &pair.dialer.session;
        prop_assert_eq!(session.lane_room(lane(NORMAL)), session.message_bytes_max());
    }
}
