//! Classifies the last label of a dotted word: is the word a host name?

/// The certainty that a word with this ending is a host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// Only host names end like this: `example.com`.
    Sure,
    /// Words of a sentence and file names also end like this (`no.it is`, `main.rs`): a host name
    /// only with a path or a scheme.
    Doubtful,
    /// Not a top-level domain in common use in links.
    Unknown,
}

/// Generic and widely linked country domains.
const SURE: &str = "
com net org info biz edu gov mil int name pro mobi asia jobs travel app dev page web xyz top site
online store shop club live life fun world space website tech cloud digital agency media news blog
wiki email chat social games game gg bet casino poker win bid loan vip icu cyou buzz click link
rest monster quest sbs cfd lol lat bond cam sex sexy porn xxx adult tube tv fm io ai co ly gl gd
tk ml ga cf gq pw cc ws su ru ua kz uk de fr nl eu cz sk hu ro bg gr tr cn jp kr tw hk sg th vn ph
br ar mx cl pe ve ca au nz za ng ke il ir ae sa es pt se dk fi ie ch lt lv ee si hr finance money
trade exchange crypto nft token work works zone team art design studio photo video stream film
movie music audio bar pub cafe best cool guru ninja expert group global network systems solutions
services support center company market marketing sale deals discount gift gifts promo fans date
dating singles men love xin download software host hosting press today tips review reviews report
bio
";

const DOUBTFUL: &str = "
it is in me so to do be at my no us as am pm by or hi ma pa la mu mo ne li id ps py rs md sh pl st
sc sm tc vc vg ac bz cx fo gs gy ht lc ms mn nu sx tf tl tm uz vu wf yt re ag lk mk al ba ad zip
mov one new now here how you day car eat fit run bot cat dog fish land house
";

/// Classifies the last label of a host name, in lower case.
pub(super) fn ending(label: &str) -> Ending {
    let is_in = |list: &str| list.split_ascii_whitespace().any(|entry| entry == label);
    if is_in(DOUBTFUL) {
        Ending::Doubtful
    } else if is_in(SURE) || label.starts_with("xn--") || matches!(label, "рф" | "中国") {
        Ending::Sure
    } else {
        Ending::Unknown
    }
}
