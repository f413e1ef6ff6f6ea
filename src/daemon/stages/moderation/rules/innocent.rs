//! Common English words that differ from other words only by a doubled letter, by `i` and `l`, or
//! by a symbol, and would be mistaken for a stretched or disguised blocked word. A word listed here
//! is innocent unless exactly that word is blocked.

use std::sync::LazyLock;

use ahash::AHashSet;

const WORDS: &str = "
all ball bell bill boss bull call cell chill cross doll dress drill dull fall fell fill full glass
grass gull hall hello hill kill kiss loss mall mess mill miss moss null pass pill poll pull roll sell
shell shells skill skull small smell spell spill staff stall still stuff tall tell till toll troll
wall well will yell hiss bliss press stress class bass lass mass less
bee beep beer bees beet been boo book boom boon boost boot booth broom choose cook cooks cool coop
deed deep deer door eel fee feed feel feet flee food fool foot free good goose greed green hood hoof
hook hoop hoot jeep keen keep knee loo look loon loop loose loot meet mood moon moose need noon
peel peep peer pool poor proof queen reed reef reel roof room root sheep sheet shook shoot seed seek
seem seen sleep soon soot speed spoon steep steel sweet teen three too took tool tooth tree weed week
wheel wood wool zoo zoom
add adding odd egg inn off buff cuff puff sniff stiff bluff cliff mutt putt butt
rapping rapper rappers tapping dinner dessert latter hopping coffee committee bitter better butter
cooking rubber robber supper super
hotter hottest batter letter litter matter pepper pretty happy puppy guppy yummy mummy tummy
assassin assassins assault assemble assembly assert assess asset assets assign assigned assignment
assist assistant assume assumed assure associate association
cockpit cocktail cockroach dickens shiitake therapist therapists analyst analysis analog analyze
cumin cumulative title titles titan
";

static ALL: LazyLock<AHashSet<&'static str>> =
    LazyLock::new(|| WORDS.split_ascii_whitespace().collect());

/// Abbreviations that are innocent even if stretched; compared with runs of a letter reduced to
/// one.
const STRETCHED: [&str; 2] = ["pls", "plz"];

/// Returns whether these letters spell an innocent word.
pub(super) fn is_innocent(word: &str) -> bool {
    let mut letters: Vec<char> = word.chars().collect();
    letters.dedup();
    ALL.contains(word)
        || STRETCHED.iter().any(|stretched| letters.iter().copied().eq(stretched.chars()))
}
