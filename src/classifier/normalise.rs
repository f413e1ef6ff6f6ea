//! The normal form in which the classifier reads a text.
//!
//! Disguises that readers see through are undone here, so that training and scoring see the same
//! words. The text as it is stored and shown has another form (`protocol/text`).

use std::collections::HashSet;

use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory, GeneralCategoryGroup};
use icu_properties::{CodePointMapData, CodePointSetData};
use unicode_normalization::UnicodeNormalization as _;

use super::digits::{is_known_in_letters, undo_digits, writes_in_digits};
use super::vocabulary::{
    END_MARKS, MAX_MASKED, is_stretched, letter_of, segment, unmask, unstretch,
};

/// Stands for an address in the normal form.
const URL_TOKEN: &str = "urltok";
/// Stands for the name behind an `@`.
const USER_TOKEN: &str = "usertok";
/// Stands for a number of five digits or more.
const NUMBER_TOKEN: &str = "numtok";
/// Digits from which a number is only a number.
const LONG_NUMBER_DIGITS: usize = 5;
/// A longer run of one character is shortened.
const LONGEST_RUN: usize = 2;
/// Single characters that stand apart and are joined from this many on.
const MIN_SPELLED: usize = 3;

/// Stands for several spaces until spelled words are joined: they part the words of a text whose
/// letters are parted by one.
const WIDE_GAP: char = '\n';

/// Codes of emotes that stand for a picture on the large platforms. They are dropped where they
/// are a whole word in exactly this case.
const EMOTES: &str = "\
    4Head AYAYA AngelThump ArgieB8 ArsonNoSexy AsianGlow BBoomer BOOBA BabyRage BatChest \
    BegWan BibleThump BigBrother BigPhish BlargNaut BlessRNG BloodTrail BrainSlug BrokeBack \
    BuddhaBar CatBag CheemJam Chatting Clap Clueless CoolCat CoolStoryBob CorgiDerp CrreamAwk \
    CurseLit DAESuppy DBstyle DIESOFCRINGE DansGame DatSheffy DinoDance DogFace DonkWalk \
    DoritosChip DxCat EZ EZClap EarthDay EleGiggle EntropyWins FBBlock FBCatch FBPass FBRun \
    FailFish FeelsBadMan FeelsBirthdayMan FeelsDankMan FeelsGoodMan FeelsOkayMan FeelsRainMan \
    FeelsStrongMan FeelsWeirdMan FootBall FootGoal FrankerZ FreakinStinkin FUNgineer FutureMan \
    GIGACHAD GayPride GivePLZ GlitchCat GlitchLit GlitchNRG Gladge HYPERS HahaBall HahaCat \
    HassanChop HeyGuys HolidayCookie HolidayTree HotPokket HypeLUL HypeLol ICANT ItsBoshyTime \
    Jebaited Jebasted KEKL KEKLEO KEKW KKona KKool KKomrade KPOPTT Kapp Kappa KappaClaus \
    KappaPride KappaRoss KappaWealth Keepo KevinTurtle Kippa KomodoHype KonCha Kreygasm LUL LULW \
    LaundryBasket MadgeNow Madge MercyWing1 MercyWing2 MikeHogu MingLee ModLove Modge MonkaS \
    MorphinTime MrDestructoid MVGame MyAvatar NODDERS NOOO NOPERS NODDING NaM NewRecord \
    NiceTry NinjaGrumpy NomNom NotATK NotLikeThis OMEGALUL OMEGALULiguess OhMyDog OkayChamp \
    Okayge OneHand OpieOP OptimizePrime PETTHEPEEPO PJSalt PJSugar PMSTwin POGGERS POGGIES POGPLANT \
    PRChase PagMan PanicVis PartyTime PauseChamp PauseMan Pepega PepeHands PepeLaugh \
    PepegaAim PermaSmug PicoMause PinkMercy PipeHype PixelBob PogBones PogChamp PogO PogTasty PogU \
    Pog Poggers Pogey Pooound PopCorn PoroSad PotFriend PowerUpL PowerUpR PraiseIt \
    PrimeMe PunOko PunchTrees RaccAttack RalpherZ RedCoat RedTeam ResidentSleeper RIPBOZO \
    RitzMitz RlyTho RuleFive SMOrc SSSsss SabaPing Sadge SadgeCry SeemsGood SeriousSloth ShadyLulu \
    ShazBotstix SingsMic SingsNote SmoocherZ SoBayed SoonerLater Squid1 Squid2 Squid3 Squid4 \
    StinkyCheese StinkyGlitch StoneLightning StrawBeary SuperVinlin SwiftRage TF2John TPFufun \
    TPcrunchyroll TTours TakeNRG TearGlove TehePelo ThankEgg TheIlluminati TheRinger TheTarFu \
    TheThing ThunBeast TinyFace TombRaid TooSpicy TriHard TriKool TwitchLit TwitchRPG TwitchSings \
    TwitchUnity TwitchVotes UWot UnSane UncleNox VirtualHug VoHiYo VoteNay VoteYea WICKED WTRuck \
    WAYTOODANK WeirdChamp Weirdge WholeWheat WideHard WideHardo WutFace YEP YEPCOCK YouDontSay \
    YouWHY bleedPurple catJAM cmonBruh copyThis duDudu forsenCD gachiBASS gachiGASM gachiHYPER \
    imGlitch kekw mcaT monkaGIGA monkaHmm monkaS monkaTOS monkaW panicBasket pastaThat peepoClap \
    peepoGiggles peepoHappy peepoLeave peepoSad pepeD pepeJAM pepeLaugh pogg ppHop ppOverheat \
    riPepperonis roflanEbalo sadCat squadHey squadP twitchRaid widepeepoHappy xqcL";

/// Letters of Cyrillic and Greek that look like a Latin one, each before it.
const LOOK_ALIKES: &str = "\
    аa вb сc еe ёe һh іi їi јj кk ԛq оo рp ѕs тt уy ԝw хx үy нh мm ԁd ɡg ӏl ոn զq гr пn яr иn \
    αa βb γy δd εe ζz ηn ιi κk μm νv οo πn ρp σo ςc τt υu χx ωw";

/// Those of them that are in no alphabet of a large language.
const RARE_LOOK_ALIKES: [char; 7] = ['ѕ', 'ԛ', 'ԝ', 'һ', 'ԁ', 'ɡ', 'ӏ'];

/// The kinds of normal form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Runs of a letter become one letter, and disguises are undone.
    Folded,
    /// Only characters that are not seen and differences of width and case are removed: spam is
    /// recognized by how it is disguised.
    Plain,
}

/// Writes texts in a normal form. Reuses its buffers.
#[derive(Debug, Clone)]
pub struct Normaliser {
    emotes: HashSet<&'static str, ahash::RandomState>,
    chunk: String,
    folded: String,
    joined: String,
    chars: Vec<char>,
}

impl Default for Normaliser {
    fn default() -> Self {
        Self {
            emotes: EMOTES.split_whitespace().collect(),
            chunk: String::new(),
            folded: String::new(),
            joined: String::new(),
            chars: Vec::new(),
        }
    }
}

impl Normaliser {
    /// Writes the normal form of `text` into `out`, which is cleared before. Words are separated
    /// by one space.
    pub fn write(&mut self, text: &str, form: Form, out: &mut String) {
        out.clear();
        self.joined.clear();
        let mut gap = ' ';
        for word in text.split(char::is_whitespace) {
            if word.is_empty() {
                gap = WIDE_GAP;
                continue;
            }
            if self.emotes.contains(word) {
                continue;
            }
            self.fold_word(word, form);
            let target = if form == Form::Folded { &mut self.joined } else { &mut *out };
            for part in self.folded.split_whitespace() {
                if !target.is_empty() {
                    target.push(if form == Form::Folded { gap } else { ' ' });
                }
                target.push_str(part);
                gap = ' ';
            }
        }
        if form == Form::Folded {
            self.folded.clear();
            for part in self.joined.split(WIDE_GAP) {
                join_spelled(part, part.len() < self.joined.len(), &mut self.folded);
            }
            out.reserve(self.folded.len());
            let in_digits = writes_in_digits(&self.folded);
            for word in self.folded.split(' ').filter(|word| !word.is_empty()) {
                if !out.is_empty() {
                    out.push(' ');
                }
                undo_digits(word, in_digits, out);
            }
        }
    }

    /// Writes the normal form of one word, as far as it depends on that word only, to `folded`.
    fn fold_word(&mut self, word: &str, form: Form) {
        self.folded.clear();
        if is_address(word) {
            self.folded.push_str(URL_TOKEN);
            return;
        }
        self.chunk.clear();
        self.chars.clear();
        if word.is_ascii() {
            self.chars.extend(word.chars().map(|c| c.to_ascii_lowercase()));
        } else {
            let visible = word.nfkc().filter(|c| !is_ignorable(*c)).flat_map(char::to_lowercase);
            self.chars.extend(visible);
        }
        let letters = self.chars.iter().rposition(|c| c.is_alphabetic()).map_or(0, |at| at + 1);
        let (body, end) = self.chars.split_at(letters);
        let is_stretched = form == Form::Folded && is_stretched(body);
        let known = if is_stretched { unstretch(body) } else { None };
        let rest = if known.is_some() { end } else { &self.chars };
        self.chunk.push_str(known.unwrap_or_default());
        let longest_run = if is_stretched { 1 } else { LONGEST_RUN };
        push_letters(rest, form, longest_run, &mut self.chunk);
        // Full-width letters and invisible characters may have hidden it.
        if is_address(&self.chunk) {
            self.folded.push_str(URL_TOKEN);
            return;
        }
        if form == Form::Folded && self.chunk.starts_with('@') && is_known_in_letters(&self.chunk) {
            self.folded.extend(self.chunk.chars().map(letter_of));
        } else {
            replace_names_and_numbers(&self.chunk, &mut self.folded);
        }
        if form == Form::Plain {
            return;
        }
        join_parted(&self.folded, &mut self.chars, &mut self.chunk);
        std::mem::swap(&mut self.folded, &mut self.chunk);
        if !self.folded.is_ascii() {
            self.chunk.clear();
            self.chunk.extend(self.folded.nfkd().filter(|c| !is_mark(*c)).nfc());
            std::mem::swap(&mut self.folded, &mut self.chunk);
            if self.folded.bytes().any(|byte| byte.is_ascii_alphabetic())
                || is_wholly_borrowed(&self.folded)
            {
                self.chunk.clear();
                self.chunk.extend(self.folded.chars().map(latin_look_alike));
                std::mem::swap(&mut self.folded, &mut self.chunk);
            }
        }
        if let Some(word) = unmask(self.folded.trim_end_matches(END_MARKS)) {
            let rest = self.folded.trim_end_matches(END_MARKS).len();
            self.folded.replace_range(..rest, word);
        }
    }
}

fn is_ignorable(c: char) -> bool {
    !c.is_ascii()
        && (CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
            || c.is_control()
            || c == '\u{FFFC}')
}

fn is_mark(c: char) -> bool {
    !c.is_ascii()
        && GeneralCategoryGroup::Mark.contains(CodePointMapData::<GeneralCategory>::new().get(c))
}

/// Reports whether a word is an address: with a scheme, or beginning with `www.`.
fn is_address(word: &str) -> bool {
    let starts = |prefix: &str| {
        word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let scheme = starts("http://") || starts("https://") || starts("hxxp://");
    scheme || starts("www.") || word.eq_ignore_ascii_case("http")
}

/// Shortens runs: those of a letter that are longer than `longest_run` to one, or to two in the
/// plain form; those of anything else to two.
fn push_letters(letters: &[char], form: Form, longest_run: usize, out: &mut String) {
    let mut last = None;
    let mut run = 0;
    let mut start = 0;
    for c in letters.iter().copied() {
        run = if last == Some(c) { run + 1 } else { 1 };
        if run == 1 {
            start = out.len();
        }
        last = Some(c);
        // Digits are counted later, when it is known how long their number is.
        let is_mask = form == Form::Folded && c == '*' && run <= MAX_MASKED;
        let longest = if c.is_alphabetic() { longest_run } else { LONGEST_RUN };
        if c.is_ascii_digit() || run <= longest || is_mask {
            out.push(c);
        } else if form == Form::Folded && c.is_alphabetic() {
            out.truncate(start + c.len_utf8());
        }
    }
}

/// Replaces `@name` and long numbers, and shortens runs of digits.
fn replace_names_and_numbers(word: &str, out: &mut String) {
    out.clear();
    if !word.bytes().any(|byte| byte == b'@' || byte.is_ascii_digit()) {
        out.push_str(word);
        return;
    }
    let mut rest = word;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        let name =
            if c == '@' && !before.is_some_and(is_word) { word_length(&rest[1..]) } else { 0 };
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let taken = if name > 0 {
            out.push_str(USER_TOKEN);
            1 + name
        } else if digits >= LONG_NUMBER_DIGITS {
            out.push_str(NUMBER_TOKEN);
            digits
        } else if digits > 0 {
            push_digits(&rest[..digits], out);
            digits
        } else {
            out.push(c);
            c.len_utf8()
        };
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
}

/// Shortens runs of one digit to two.
fn push_digits(digits: &str, out: &mut String) {
    let mut last = None;
    let mut run = 0;
    for digit in digits.chars() {
        run = if last == Some(digit) { run + 1 } else { 1 };
        last = Some(digit);
        if run <= LONGEST_RUN {
            out.push(digit);
        }
    }
}

/// Letters, digits and the underscore.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|c| !is_word(c)).unwrap_or(text.len())
}

fn is_separator(c: char) -> bool {
    matches!(c, '.' | '-' | '_' | '*' | '·' | ',')
}

/// Joins single characters inside a word that marks part: `f.u.n` becomes `fun`.
fn join_parted(word: &str, chars: &mut Vec<char>, out: &mut String) {
    out.clear();
    if !word.chars().any(is_separator) {
        out.push_str(word);
        return;
    }
    chars.clear();
    chars.extend(word.chars());
    let is_letter = |at: usize| chars.get(at).is_some_and(|c| !is_separator(*c));
    let mut at = 0;
    while at < chars.len() {
        let starts = is_letter(at) && (at == 0 || !is_letter(at - 1)) && !is_letter(at + 1);
        let mut end = at;
        while starts && end + 2 < chars.len() && is_letter(end + 2) && !is_letter(end + 3) {
            end += 2;
        }
        if (end - at) / 2 + 1 >= MIN_SPELLED {
            out.extend(chars[at..=end].iter().step_by(2));
            at = end + 1;
        } else {
            out.push(chars[at]);
            at += 1;
        }
    }
}

/// Joins single characters that spaces part: `f u n` becomes `fun`. If wide gaps are around the
/// text, it is one word, and two characters are enough; otherwise its words are looked up.
fn join_spelled(text: &str, in_gaps: bool, out: &mut String) {
    let is_single = |word: &str| {
        let mut chars = word.chars();
        chars.next().is_some_and(char::is_alphanumeric) && chars.next().is_none()
    };
    let mut rest = text;
    while !rest.is_empty() {
        let singles = rest.split(' ').take_while(|word| is_single(word));
        let mut count = 0;
        let mut length = 0;
        for single in singles {
            count += 1;
            length += single.len() + 1;
        }
        // Marks may follow the last one.
        let next = rest.get(length..).and_then(|rest| rest.split(' ').next());
        if let Some(next) = next.filter(|next| is_single(next.trim_end_matches(END_MARKS))) {
            count += 1;
            length += next.len() + 1;
        }
        if !out.is_empty() {
            out.push(' ');
        }
        let is_whole = length > text.len();
        let taken = if count >= MIN_SPELLED || (in_gaps && is_whole) {
            length
        } else {
            rest.find(' ').map_or(rest.len(), |space| space + 1)
        };
        let (words, after) = rest.split_at(taken.min(rest.len()));
        if count >= MIN_SPELLED && !in_gaps {
            let run: String = words.chars().filter(|c| *c != ' ').collect();
            let letters = run.trim_end_matches(END_MARKS);
            segment(letters, out);
            out.push_str(&run[letters.len()..]);
        } else {
            out.extend(words.chars().filter(|c| *c != ' '));
        }
        rest = after;
    }
}

/// Reports whether a word without a Latin letter has only letters that look like one, and among
/// them one that hardly any language needs.
fn is_wholly_borrowed(word: &str) -> bool {
    word.contains(RARE_LOOK_ALIKES)
        && word.chars().all(|c| !c.is_alphabetic() || latin_look_alike(c) != c)
}

fn latin_look_alike(c: char) -> char {
    if c.is_ascii() {
        return c;
    }
    let pairs = LOOK_ALIKES.split(' ').map(str::chars);
    for mut pair in pairs {
        if pair.next() == Some(c) {
            return pair.next().unwrap_or(c);
        }
    }
    c
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut out = String::new();
        Normaliser::default().write(text, Form::Folded, &mut out);
        out
    }

    fn plain(text: &str) -> String {
        let mut out = String::new();
        Normaliser::default().write(text, Form::Plain, &mut out);
        out
    }

    #[test]
    fn each_step_of_the_folded_form_holds() {
        for (text, expected) in [
            // Emotes, whole words in their case only.
            ("EZ Clap ez", "ez"),
            ("Kappa123", "kappai2e"),
            // Runs, widths, invisible characters, case.
            ("NOOOO sooo good", "no so good"),
            ("ＷＯＷ", "wow"),
            ("st\u{200B}u\u{AD}pid", "stupid"),
            // Addresses, names, numbers, runs of signs.
            ("see https://a.example/b?c WWW.A.EXAMPLE", "see urltok urltok"),
            ("hi @ann: ok", "hi usertok: ok"),
            ("a@b 1234 12345 9999", "aab 1234 numtok 99"),
            ("what????!!!!", "what??!!"),
            // Parted, marked, borrowed and spelled letters.
            ("i.d.i.o.t s-t-u-p-i-d e.g.", "idiot stupid e.g."),
            ("z\u{351}a\u{300}lgo", "zalgo"),
            ("іdіоt", "idiot"),
            ("аѕѕ", "ass"),
            ("привет сор", "привет сор"),
            ("y o u are a n 00 b", "you are a n 00 b"),
            ("n 0 0 b", "noob"),
            ("S C U N T H O R P E!!!", "scunthorpe!!"),
            ("y o u a r e m y h e r o", "you are my hero"),
            ("y o u  a r e  m y  h e r o", "you are my hero"),
            ("so a  b in  EZ  c", "so a b in c"),
            // Masked and stretched words.
            ("what a st*pid, f**king t3st", "what a stupid, fucking test"),
            ("sshhiiit!!! ffuuuccck, looool", "shit!! fuck, lol"),
            ("@$$ @nd @ann", "ass and usertok"),
            ("y0u 4r3 15 455", "you are is ass"),
            ("at 15 455", "at 15 455"),
            // Digits and signs for letters, in words with a Latin letter.
            ("1d10t $tup1d! !diot w|n|", "idiot stupid! idiot win|"),
            ("1337 4:30 $5", "1337 4:30 $5"),
            ("", ""),
        ] {
            assert_eq!(folded(text), expected, "{text}");
        }
    }

    #[test]
    fn the_plain_form_keeps_disguises() {
        assert_eq!(plain("SUB   to  Meeee!!!"), "sub to mee!!");
        assert_eq!(plain("fr33 i.p.h.o.n.e ＨＥＲＥ"), "fr33 i.p.h.o.n.e here");
        assert_eq!(plain("@ann http://a.example 123456"), "usertok urltok numtok");
    }

    proptest::proptest! {
        #[test]
        fn words_are_parted_by_one_space(text in "\\PC{0,60}") {
            for form in [folded(&text), plain(&text)] {
                proptest::prop_assert!(!form.contains("  "), "{form:?}");
                proptest::prop_assert_eq!(form.trim(), &form);
            }
        }
    }
}
