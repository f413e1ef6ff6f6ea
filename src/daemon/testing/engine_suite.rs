//! One suite per engine contract, run on every engine.
//!
//! A contract's `conformance` module holds its promises: async functions that take the engine under
//! test by reference, `&impl Contract` or `&mut impl Harness`. It names them once, in a macro of
//! its own that passes the engine on:
//!
//! ```ignore
//! macro_rules! bus_suite {
//!     ($($engine:tt)*) => {
//!         $crate::daemon::testing::engine_suite! {
//!             engine: [$($engine)*],
//!             promises: [$crate::daemon::engines::bus::conformance],
//!                 messages_arrive_in_order,
//!                 subscribing_twice_delivers_once,
//!         }
//!     };
//! }
//! pub(crate) use bus_suite;
//! ```
//!
//! An engine runs the suite in its tests. Each test calls the given async function, which opens an
//! empty engine and returns it with a guard that is dropped after it (a directory, a schema, `()`).
//! Attributes in front of the call go to every test:
//!
//! ```ignore
//! bus_suite!(open());
//!
//! mod on_three_nodes {
//!     bus_suite!(#[ignore = "needs scripts/stack up"] open_on(3));
//! }
//! ```

use std::fmt::Debug;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseResult, TestRunner};

/// Writes one `#[tokio::test]` per promise of a contract.
macro_rules! engine_suite {
    (engine: $engine:tt, promises: $module:tt, $($promise:ident),+ $(,)?) => {
        $($crate::daemon::testing::engine_suite!(@test $promise, $engine, $module);)+
    };
    (@test $promise:ident, [$(#[$attribute:meta])* $open:ident($($argument:expr),*)], [$($module:tt)+]) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $(#[$attribute])*
        async fn $promise() {
            let (mut engine, _guard) = $open($($argument),*).await;
            $($module)+::$promise(&mut engine).await;
        }
    };
}
pub(crate) use engine_suite;

/// Checks a property for `cases` random inputs. For a promise of an engine suite, which is async
/// where proptest is not; must be called on a runtime with several threads, as the suite's is.
pub(crate) fn check_property<S: Strategy>(
    cases: u32,
    inputs: &S,
    property: impl AsyncFn(S::Value) -> TestCaseResult,
) where
    S::Value: Debug,
{
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let runtime = tokio::runtime::Handle::current();
    tokio::task::block_in_place(|| {
        let checked =
            TestRunner::new(config).run(inputs, |input| runtime.block_on(property(input)));
        checked.unwrap_or_else(|failure| panic!("{failure}"));
    });
}
