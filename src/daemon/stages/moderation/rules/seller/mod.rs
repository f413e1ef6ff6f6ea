//! Recognizes offers of viewers and followers.
//!
//! In: a comment. Out: the place that it sends its readers to. Sellers disguise their words and the
//! domain, so both are read as the other rules read them. No word tells by itself: viewers are
//! talked about in every chat, and so are prices. Signs add up ([`points`]), and a comment is an
//! offer if it has [`OFFER_POINTS`] and names a place.

use std::sync::LazyLock;

use super::blocked_words::BlockedWords;
use super::fold::{Folded, Reading, Symbols};
use super::links::{AllowedHosts, NamedHost};

/// Points from which a comment is an offer.
const OFFER_POINTS: u32 = 5;
/// Words between a word that sells and what is sold.
const MAX_BETWEEN: usize = 3;
/// Words between what is sold and the domain.
const MAX_TO_HOST: usize = 2;

/// The part of a word in an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The audience that is for sale.
    Audience,
    /// Tells of a sale wherever it stands beside the audience.
    Sale,
    /// Praises the audience that follows.
    Praise,
    /// A phrase that only sellers use.
    Slogan,
    /// Names a place outside of this chat where sellers do business.
    Messenger,
    /// May name such a place.
    Place,
}

#[rustfmt::skip]
const AUDIENCE: &[&str] = &[
    "viewers", "view bots", "viewbots", "followers", "follow bots", "chat bots", "chatbots",
    "subscribers", "primes", "views", "зрители", "зрителей", "зрителями", "фолловеров",
    "фолловеры", "подписчиков", "подписчики", "seguidores", "espectadores", "zuschauer",
    "abonnenten", "spectateurs",
];
#[rustfmt::skip]
const SALE: &[&str] = &[
    "buy", "cheap", "cheapest", "cheaper", "order", "sell", "selling", "sale", "promo", "discount",
    "comprar", "baratos", "kaufen", "billige", "acheter", "купить", "купи", "дешево", "дешевые",
    "накрутка", "накрутить", "продажа",
];
#[rustfmt::skip]
const PRAISE: &[&str] = &[
    "best", "get", "free", "real", "more", "boost", "increase", "grow", "gain", "instant",
    "quality", "organic", "active", "upgrade", "живые", "лучшие", "реальные",
];
#[rustfmt::skip]
const SLOGANS: &[&str] = &[
    "become famous", "get famous", "promote your channel", "promotion of your channel",
    "promote your stream", "promotion of your stream", "grow your channel", "grow your stream",
    "boost your channel", "boost your stream", "top of twitch", "twitch promotion",
    "remove the space", "remove the spaces", "remove space", "remove spaces", "delete the space",
    "delete the spaces", "without the space", "without the spaces", "without space",
    "without spaces", "no spaces", "lowest price", "lowest prices", "low prices", "best prices",
    "price is lower", "quality is guaranteed", "раскрутка канала", "продвижение канала",
    "без пробелов",
];
const MESSENGERS: &[&str] = &["telegram", "whatsapp"];
const PLACES: &[&str] = &["discord", "dm me", "message me", "add me", "my profile", "in my bio"];

/// Words in front of a sale that tell of it, or warn of it.
#[rustfmt::skip]
const DOUBTS: &[&str] = &[
    "dont", "don", "never", "not", "stop", "cant", "he", "she", "they", "who", "why", "people",
    "streamers", "tried", "would", "ever",
];
/// Words between an audience and the place where it is sold.
const TOWARDS: &[&str] =
    &["on", "at", "from", "here", "via", "in", "now", "visit", "на", "en", "auf"];

/// Hosts that people name when they talk about viewers.
#[rustfmt::skip]
const KNOWN_HOSTS: &[&str] = &[
    "twitch.tv", "youtube.com", "youtu.be", "kick.com", "tiktok.com", "twitter.com", "x.com",
    "instagram.com", "facebook.com", "reddit.com", "wikipedia.org", "google.com", "github.com",
    "twitchtracker.com", "sullygnome.com", "socialblade.com", "streamelements.com",
    "streamlabs.com", "streamscharts.com", "patreon.com", "ko-fi.com", "steampowered.com",
];

struct Terms {
    words: BlockedWords,
    /// By the index of the word.
    parts: Vec<Part>,
}

static TERMS: LazyLock<Terms> = LazyLock::new(|| {
    let lists = [
        (AUDIENCE, Part::Audience),
        (SALE, Part::Sale),
        (PRAISE, Part::Praise),
        (SLOGANS, Part::Slogan),
        (MESSENGERS, Part::Messenger),
        (PLACES, Part::Place),
    ];
    let all = lists.iter().flat_map(|(list, _)| list.iter().copied());
    let words = BlockedWords::new(all, &[]).expect("the terms have letters");
    let part = |word: &str| {
        let list = lists.iter().find(|(list, _)| list.contains(&word));
        list.map_or(Part::Place, |(_, part)| *part)
    };
    let parts = words.words().map(part).collect();
    Terms { words, parts }
});

/// A word of an offer, by its first and last element in the folded text.
#[derive(Debug, Clone, Copy)]
struct Found {
    word: usize,
    part: Part,
    first: usize,
    last: usize,
}

/// Returns the place that an offer of viewers names: a host that is not allowed, or a messenger.
pub(super) fn find_offer(reading: &Reading<'_>, allowed: &AllowedHosts) -> Option<String> {
    let of_letters = offer_in(reading.text, &reading.letters, Symbols::AsLetters, allowed);
    of_letters.or_else(|| offer_in(reading.text, reading.gaps()?, Symbols::AsGaps, allowed))
}

fn offer_in(
    text: &str,
    folded: &Folded,
    symbols: Symbols,
    allowed: &AllowedHosts,
) -> Option<String> {
    let hits = TERMS.words.hits(text, folded, symbols);
    let found: Vec<Found> = hits
        .map(|hit| Found {
            word: hit.word,
            part: TERMS.parts[hit.word],
            first: hit.first,
            last: hit.last,
        })
        .collect();
    let of = |part| found.iter().filter(move |one| one.part == part);
    let is_about_viewers = of(Part::Audience).next().is_some();
    let has_signs =
        [Part::Sale, Part::Praise, Part::Slogan].into_iter().any(|part| of(part).next().is_some());
    if !has_signs || !is_about_viewers && of(Part::Slogan).next().is_none() {
        return None;
    }
    let host = allowed.suspected(text, KNOWN_HOSTS);
    let place = [Part::Messenger, Part::Place].into_iter().find_map(|part| of(part).next());
    let place = match (&host, place) {
        (Some(named), _) => named.host.clone(),
        (None, Some(place)) => TERMS.words.words().nth(place.word)?.to_owned(),
        (None, None) => return None,
    };
    (points(folded, &found, host.as_ref()) >= OFFER_POINTS).then_some(place)
}

/// Adds up the signs of an offer.
fn points(folded: &Folded, found: &[Found], host: Option<&NamedHost>) -> u32 {
    let of = |part| found.iter().filter(move |one| one.part == part);
    let place = match host {
        Some(named) if named.is_hidden => 3,
        Some(_) => 2,
        None if of(Part::Messenger).next().is_some() => 2,
        None => 1,
    };
    let audiences = || of(Part::Audience);
    let is_sold = |sale: &Found| {
        let beside = |audience: &Found| {
            let before = words_between(folded, sale, audience);
            let after = words_between(folded, audience, sale);
            before.is_some_and(|words| words <= MAX_BETWEEN)
                || after.is_some_and(|words| words <= 1)
        };
        audiences().any(beside) && !is_doubted(folded, sale)
    };
    let is_praised = |praise: &Found| {
        let follows = |audience: &Found| {
            words_between(folded, praise, audience).is_some_and(|words| words < MAX_BETWEEN)
        };
        audiences().any(follows) && !is_doubted(folded, praise)
    };
    let offer = if of(Part::Sale).any(is_sold) {
        3
    } else if of(Part::Praise).any(is_praised) {
        2
    } else {
        0
    };
    let mut slogans: Vec<usize> = of(Part::Slogan).map(|one| one.word).collect();
    slogans.sort_unstable();
    slogans.dedup();
    let first = audiences().next().map(|one| one.word);
    let has_several = audiences().any(|one| Some(one.word) != first);
    let leads_to_host = host.is_some_and(|named| {
        audiences().any(|audience| leads_to(folded, audience.last, &named.host))
    });
    place
        + offer
        + 2 * slogans.len().min(2) as u32
        + u32::from(has_several)
        + u32::from(leads_to_host)
}

/// Returns the number of words between two words; `None` if the second does not follow the first.
fn words_between(folded: &Folded, first: &Found, second: &Found) -> Option<usize> {
    let between = folded.elements.get(first.last + 1..=second.first)?;
    let gaps = between.iter().filter(|element| !element.gap.is_none()).count();
    gaps.checked_sub(1)
}

/// Returns whether one of the two words in front says that this is no offer.
fn is_doubted(folded: &Folded, found: &Found) -> bool {
    let mut end = found.first;
    for _ in 0..2 {
        if end == 0 {
            return false;
        }
        let before = &folded.elements[..end];
        let start = before.iter().rposition(|element| !element.gap.is_none()).unwrap_or(0);
        let word: String = before[start..].iter().map(|element| element.letter).collect();
        if DOUBTS.contains(&&*word) {
            return true;
        }
        end = start;
    }
    false
}

/// Returns whether the host is named behind the element `last`, with at most [`MAX_TO_HOST`] words
/// towards it.
fn leads_to(folded: &Folded, last: usize, host: &str) -> bool {
    let name = host.trim_start_matches("www.").split('.').next().unwrap_or(host);
    let name = Folded::new(name, Symbols::AsLetters);
    let mut at = last + 1;
    for _ in 0..=MAX_TO_HOST {
        let Some(rest) = folded.elements.get(at..) else { return false };
        let letters = rest.iter().map(|element| element.letter);
        if !name.elements.is_empty() && rest.len() >= name.elements.len() {
            let is_same = letters.zip(&name.elements).all(|(letter, named)| letter == named.letter);
            if is_same {
                return true;
            }
        }
        if at >= folded.elements.len() {
            return false;
        }
        let end = folded.piece_end(at);
        let word: String = folded.elements[at..end].iter().map(|element| element.letter).collect();
        if !TOWARDS.contains(&&*word) {
            return false;
        }
        at = end;
    }
    false
}

#[cfg(test)]
mod tests;
