//! Pages from many places: read at the same time, one place at first, then twice as many each time.
//! The first is enough for a busy stream; a quiet one has a comment or two per place.

use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use crate::daemon::engines::StoreError;

/// Places read at the same time, at most.
pub(super) const LARGEST_WAVE: usize = 16;

/// A walk over the places in which a stream has comments, newest first or oldest first.
pub(super) trait Walk: Send {
    type Place: Send;

    /// Returns the next `count` places; fewer only at the end.
    fn next(
        &mut self,
        count: usize,
    ) -> impl Future<Output = Result<Vec<Self::Place>, StoreError>> + Send;
}

/// Returns the first `limit` rows of the places. `read` returns those of one place, in the order
/// of the walk, of which the given number is enough.
pub(super) async fn read_in_waves<W, F, Row>(
    mut walk: W,
    limit: usize,
    read: impl Fn(W::Place, usize) -> F,
) -> Result<Vec<Row>, StoreError>
where
    W: Walk,
    F: Future<Output = Result<Vec<Row>, StoreError>>,
{
    let mut shown = Vec::new();
    let mut wave = 1;
    while shown.len() < limit {
        let places = walk.next(wave).await?;
        if places.is_empty() {
            break;
        }
        let want = limit - shown.len();
        let mut reads = stream::iter(places).map(|place| read(place, want)).buffered(LARGEST_WAVE);
        while let Some(rows) = reads.try_next().await? {
            shown.extend(rows);
        }
        wave = (wave * 2).min(LARGEST_WAVE);
    }
    shown.truncate(limit);
    Ok(shown)
}
