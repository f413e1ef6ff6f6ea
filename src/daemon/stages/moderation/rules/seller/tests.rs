use super::*;

fn offer(text: &str) -> Option<String> {
    find_offer(&Reading::new(text), &AllowedHosts::new(&["ourshop.com".to_owned()]))
}

#[test]
fn sellers_of_viewers_are_found() {
    #[rustfmt::skip]
    let offers = [
        ("Best viewers on streamboo.com", "streamboo.com"),
        ("Best viewers on streamboo .com (remove the space)", "streamboo.com"),
        ("Cheap viewers on mountviewers .com @ann", "mountviewers.com"),
        ("Cheap Viewers on cutt.ly/abcdef", "cutt.ly"),
        ("Wanna become famous? Buy followers, primes and viewers on bigfollows . com", "bigfollows.com"),
        ("Wanna become famous? Buy viewers and followers on clck.ru/abc (bigfollows .com)", "bigfollows.com"),
        ("Get viewers, followers and primes on dogehype . com", "dogehype.com"),
        ("Best viewers on dogehype dot com", "dogehype.com"),
        ("best viewers on nezhna (dot) ru", "nezhna.ru"),
        ("Best viewers on nezhna . ru", "nezhna.ru"),
        ("best viewers on nezhna[.]ru", "nezhna.ru"),
        ("Best viewers on s t r e a m b o o . c o m", "streamboo.com"),
        ("Best viewers on s t r e a m b o o.com", "streamboo.com"),
        ("b e s t  v i e w e r s on streamboo. com", "streamboo.com"),
        ("B\u{35f}est V\u{310}iewers o\u{361}n streamrise\u{34f} .ru", "streamrise.ru"),
        ("Вest viеwers on strеamboo .com", "strеamboo.com"),
        ("𝐁𝐞𝐬𝐭 𝐯𝐢𝐞𝐰𝐞𝐫𝐬 𝐨𝐧 𝐬𝐭𝐫𝐞𝐚𝐦𝐛𝐨𝐨 .𝐜𝐨𝐦", "streamboo.com"),
        ("Ｂｅｓｔ ｖｉｅｗｅｒｓ ｏｎ ｓｔｒｅａｍｂｏｏ．ｃｏｍ", "streamboo.com"),
        ("Be\u{200b}st view\u{200b}ers on streamboo.com", "streamboo.com"),
        ("B3st v1ewers on streamboo d0t com", "streamboo.com"),
        ("ch3ap vi3wers, f0llowers: streamboo•com", "streamboo.com"),
        ("BUY CHEAP TWITCH VIEWERS AT STREAMBOO,COM", "streamboo.com"),
        ("viewers cheap -> streamboo.com", "streamboo.com"),
        ("real viewers for sale, streamboo dot com", "streamboo.com"),
        ("Boost your channel with real viewers: hxxp://streamboo.com", "streamboo.com"),
        ("I offer promotion of your channel, viewers, followers, chat bots. telegram @promo", "telegram"),
        ("Buy viewers cheap, message me on telegram", "telegram"),
        ("cheap followers, whatsapp +49 1234", "whatsapp"),
        ("grow your channel fast, get real viewers, add me on discord john#1234", "add me"),
        ("накрутка зрителей streamboo .ru", "streamboo.ru"),
        ("купить зрителей на streamboo.com", "streamboo.com"),
        ("comprar seguidores en streamboo . com", "streamboo.com"),
        ("seguidores baratos: streamboo punto com", "streamboo.com"),
        ("zuschauer kaufen auf streamboo .com", "streamboo.com"),
        ("chea.p vie.wers on streamboo.com", "streamboo.com"),
        ("best v*ewers on streamboo .com", "streamboo.com"),
    ];
    let missed: Vec<_> = offers
        .iter()
        .map(|(text, place)| (text, place, offer(text)))
        .filter(|(_, place, found)| found.as_deref() != Some(**place))
        .collect();
    assert!(missed.is_empty(), "{missed:#?}");
}

#[test]
fn talk_about_viewers_is_no_offer() {
    #[rustfmt::skip]
    let innocent = [
        "he has 500 viewers",
        "best viewers on twitch",
        "you have the best viewers ever <3",
        "best viewers on twitch.tv",
        "thanks to all my followers, check youtube.com/@me",
        "500 followers! next goal 1000",
        "how do you get more viewers?",
        "how do i get more viewers? i use restream.io",
        "get viewers with a good schedule.it works",
        "get followers by being yourself",
        "do you buy viewers lol",
        "he buys viewers, see socialblade.com/twitch",
        "don't buy viewers from bigfollows.com",
        "never buy followers on bigfollows.com, it is a scam",
        "they sell viewers on bigfollows.com",
        "i would never buy viewers on streamboo.com",
        "my stream is on example.net, 20 viewers",
        "thank you viewers! get the game at store.steampowered.com",
        "viewers can join our discord",
        "join our discord, best viewers ever",
        "get the best price on ourshop.com, followers have 10 % off",
        "free followers giveaway at the end",
        "order a pizza dear viewers",
        "buy the game, it is cheap, see example.com",
        "cheap shot",
        "the best views on this hike are at yosemite.org",
        "we have more viewers now",
        "remove the space in the name",
        "top of the table",
        "i will promote your art in my discord",
        "see you . no problem",
        "зрителей сегодня много",
        "подписчики канала лучшие",
        "gracias a todos los seguidores",
        "guten abend zuschauer",
        "are these view bots?",
        "is this a real viewer or a bot?",
    ];
    let found: Vec<_> = innocent.iter().filter_map(|text| Some((text, offer(text)?))).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn an_allowed_host_sells_nothing() {
    assert_eq!(offer("Buy cheap viewers on ourshop.com"), None);
    assert_eq!(offer("Buy cheap viewers on ourshop . com"), None);
    assert!(offer("Buy cheap viewers on othershop.com").is_some());
}

#[test]
fn every_term_has_its_part() {
    assert_eq!(TERMS.words.words().count(), TERMS.parts.len());
    for (list, part) in [(AUDIENCE, Part::Audience), (SALE, Part::Sale), (PLACES, Part::Place)] {
        for term in list {
            let at = TERMS.words.words().position(|word| word == *term);
            assert_eq!(at.map(|at| TERMS.parts[at]), Some(part), "{term}");
        }
    }
}
