use super::*;
use crate::daemon::stages::moderation::rules::links::AllowedHosts;
use proptest::prelude::*;

fn first_forbidden(allowed: &[&str], text: &str) -> Option<String> {
    let allowed: Vec<String> = allowed.iter().map(|host| (*host).to_owned()).collect();
    AllowedHosts::new(&allowed).first_forbidden(text)
}

#[test]
fn hosts_in_parts_are_links() {
    #[rustfmt::skip]
    let links = [
        // a dot between spaces
        ("streamboo . ru", "streamboo.ru"),
        ("see streamboo . com now", "streamboo.com"),
        ("streamboo . co . uk", "streamboo.co"),
        ("streamboo . xyz", "streamboo.xyz"),
        ("discord . gg / abc", "discord.gg"),
        ("streamboo . webcam", "streamboo.webcam"),
        ("www.streamboo . ru/x", "www.streamboo"),
        ("(streamboo . ru)", "streamboo.ru"),
        ("go:streamboo . ru", "streamboo.ru"),
        // a space on one side
        ("streamboo .com", "streamboo.com"),
        ("STREAMBOO .RU!", "streamboo.ru"),
        ("on streamboo .com (remove the space)", "streamboo.com"),
        ("streamboo. com", "streamboo.com"),
        ("visit streamboo. com today", "streamboo.com"),
        ("discord. gg/abc", "discord.gg"),
        ("streamboo. ru", "streamboo.ru"),
        // written dots
        ("streamboo d0t com", "streamboo.com"),
        ("streamboo dоt com", "streamboo.com"),
        ("streamboo punto com", "streamboo.com"),
        ("streamboo ponto com", "streamboo.com"),
        ("streamboo punkt com", "streamboo.com"),
        ("стримбу точка ру", "стримбу.ру"),
        ("streamboo ( . ) com", "streamboo.com"),
        ("streamboo[ dot ]com", "streamboo.com"),
        ("streamboo(d0t)com", "streamboo.com"),
        ("streamboo-dot-com", "streamboo.com"),
        ("streamboo *dot* com", "streamboo.com"),
        ("streamboo_dot_ru", "streamboo.ru"),
        ("streamboo,com", "streamboo.com"),
        ("streamboo•com", "streamboo.com"),
        ("streamboo·com", "streamboo.com"),
        // spelled out
        ("s t r e a m b o o . c o m", "streamboo.com"),
        ("s t r e a m b o o.com", "o.com"),
        ("s t r e a m b o o.ru", "streamboo.ru"),
        ("s t r e a m b o o .com", "streamboo.com"),
        ("s t r e a m b o o . com", "streamboo.com"),
        ("s t r e a m b o o dot c o m", "streamboo.com"),
        ("on  s t r e a m b o o . r u  now", "streamboo.ru"),
        // other letters
        ("strеamboo . соm", "strеamboo.соm"),
        ("ｓｔｒｅａｍｂｏｏ ．ｃｏｍ", "streamboo.com"),
        ("𝐬𝐭𝐫𝐞𝐚𝐦𝐛𝐨𝐨 . 𝐜𝐨𝐦", "streamboo.com"),
        ("stream\u{200b}boo .c\u{200d}om", "streamboo.com"),
        ("s\u{336}treamboo . c\u{336}om", "streamboo.com"),
        ("стримбу . рф", "стримбу.рф"),
    ];
    let missed: Vec<_> = links
        .iter()
        .map(|(text, host)| (text, host, first_forbidden(&[], text)))
        .filter(|(_, host, found)| found.as_deref() != Some(**host))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn sentences_with_loose_dots_are_no_links() {
    #[rustfmt::skip]
    let innocent = [
        "see you . no problem", "see you .no problem", "see you. no problem", "ok . so what",
        "ok .so", "ok.so", "thanks . me too", "yes . it is", "i am here . to win", "node.js",
        "e.g.", "e. g. this", "i . e . that", "p . s . hi", "u . s . a .", "a . m .", "v 1 . 2 . 3",
        "1 . 5", "1 . 5 . 2 beta", "50 . 000", "3 . ru", "well played . gg", "nice . gg", "nice .gg",
        "gg . wp", "good luck . gl", "see you tomorrow . cu", "going to bed . gn", "thanks . np",
        "insane . fr", "cringe . af", "what . wtf", "what a clutch. gg", "semifinals. gl hf",
        "i was sick. tv was on", "love it .. net worth", "no idea. info please",
        "link in bio. link below", "he is a pro. live now", "the .com boom", "a few .com sites",
        "the .net framework", "using .net", "i use .net and c#", "asp .net developer",
        "a .py file", "open the .md files", "main .rs", "type script .ts", "the .io games",
        "buy . com on", "wait . . . what", "wait ... what", "hmm .", ". hmm", ".", ". .", "...",
        "connect the dots", "the dot com bubble", "polka dot dress", "estamos a punto de ganar",
        "este punto de vista", "el punto es que", "der punkt ist", "a punto, com calma",
        "hello, come in", "hi,com on", "ok,come", "one,two", "1,000", "10,5", "a,b",
        "F . F . F", "W A S D", "G O A L", "G O A L . . .", "L O L . no", "a b c . d e f", "y e s . i t i s",
        "h e l l o . w o r l d", "U . S . A . in the final", "S . O . S",
        "люди . со мной", "он . но я", "как дела . нет проблем", "привет . я тут", "да.нет",
        "das war gut . so geht das", "ja . in ordnung", "bien . es verdad", "oui . je suis la",
        "ok . de rien", "isso . ai sim", "・ a ・ b", "a · b", "news • weather", "• one • two",
        "bob@example . com", "me @ 5 . 30", "ann@mail .com",
    ];
    let found: Vec<_> =
        innocent.iter().filter_map(|text| Some((text, first_forbidden(&[], text)?))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_allowed_host_may_stand_in_parts() {
    for text in ["example . com", "example .com", "e x a m p l e . c o m", "example dot com"] {
        assert_eq!(first_forbidden(&["example.com"], text), None, "{text}");
    }
    for text in ["examples . com", "exаmple . com", "example . com or streamboo . com"] {
        assert!(first_forbidden(&["example.com"], text).is_some(), "{text}");
    }
}

#[test]
fn a_suspect_text_may_hide_a_host_in_a_sentence() {
    let suspected = |text: &str| hosts(text, Care::Suspected);
    assert_eq!(suspected("on streamboo com"), ["streamboo.com"]);
    assert_eq!(suspected("viewers .top"), Vec::<String>::new(), "a word of chats");
    assert_eq!(suspected("on streamboo,ru"), ["streamboo.ru"]);
    assert_eq!(suspected("see you . no problem"), Vec::<String>::new());
}

proptest! {
    #[test]
    fn a_name_is_found_however_its_parts_stand(
        name in prop::sample::select(vec!["streamboo", "nezhna", "mountviewers", "bigfollows"]),
        ending in prop::sample::select(vec!["com", "ru", "xyz", "org"]),
        dot in prop::sample::select(vec![" . ", " .", " dot ", " d0t ", "[.]", " (dot) ", "( . )", "."]),
        before in "(on |visit |go to: |\\()?", after in "( now| \\(remove space\\)|!|\\))?",
        is_upper in any::<bool>(),
    ) {
        let text = format!("{before}{name}{dot}{ending}{after}");
        let text = if is_upper { text.to_uppercase() } else { text };
        let host = format!("{name}.{ending}");
        prop_assert_eq!(first_forbidden(&[], &text), Some(host), "{}", text);
    }

    #[test]
    fn a_spelled_out_name_is_found(
        name in prop::sample::select(vec!["streamboo", "nezhna", "mountviewers"]),
        ending in prop::sample::select(vec!["com", "ru", "xyz"]),
    ) {
        let spelled = |text: &str| {
            text.chars().map(String::from).collect::<Vec<_>>().join(" ")
        };
        let host = format!("{name}.{ending}");
        for text in [spelled(&host), format!("on {}", spelled(&host))] {
            prop_assert_eq!(first_forbidden(&[], &text), Some(host.clone()), "{}", text);
        }
        let text = format!("{}.{ending}", spelled(name));
        prop_assert!(first_forbidden(&[], &text).is_some(), "{}", text);
    }

    #[test]
    fn common_words_and_loose_dots_are_no_link(
        words in prop::collection::vec(
            prop::sample::select(vec!["so", "no", "it", "is", "to", "you", "we", "good", "game", "ok", "me", "in", "be", "are", "all", "now", "one", "here"]),
            1..8,
        ),
        dots in prop::collection::vec(prop::sample::select(vec![" ", ". ", " . ", " .", ", ", "... "]), 8),
    ) {
        let text: String = words.iter().zip(&dots).flat_map(|(word, dot)| [*word, *dot]).collect();
        prop_assert_eq!(first_forbidden(&[], &text), None, "{}", text);
    }

    #[test]
    fn what_is_found_is_in_the_text(text in "[a-z0-9 .,]{0,60}") {
        for host in hosts(&text, Care::Suspected) {
            let letters = |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>();
            prop_assert!(letters(&text).contains(&letters(&host)), "{}: {}", text, host);
        }
    }
}
