/** Texts made to break a page: none may become markup, or be drawn outside of its row. */

const MARKUP = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg/onload=alert(1)>",
  "</li></ol></main><h1>gone</h1>",
  "<!-- the rest is a comment",
  "<style>*{display:none}</style>",
  "<base href=//example.org>",
  "<iframe srcdoc='<script>parent.alert(1)</script>'>",
  "<a href=javascript:alert(1)>x</a>",
  "<math><mtext></mtext><mglyph><style><!--</style><img title=--&gt;&lt;img src=1>",
  "<template shadowrootmode=open><slot>",
  "<meta http-equiv=refresh content=0;url=about:blank>",
  "<input autofocus onfocus=alert(1)>",
  "<form action=//example.org><button>send</button>",
  "<details open ontoggle=alert(1)>",
  "<marquee onstart=alert(1)>moves</marquee>",
  "&lt;b&gt; &amp;amp; &#x3c;script&#x3e; &nbsp;&zwj;",
  "]]><![CDATA[<b>",
  "<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e 'e'>]>&e;",
  "${alert(1)} {{constructor.constructor('alert(1)')()}} #{1}",
  '"\'`onmouseover=alert(1) x="',
  "javascript:alert(1) data:text/html,<b>",
  "__proto__ constructor toString hasOwnProperty",
  "'; DROP TABLE comments; --",
  "%00%0a%0d <%= 1 %> \\u003cscript\\u003e",
];

const MARK_RANGES = [0x300, 0x310, 0x320, 0x330, 0x340, 0x350, 0x360, 0x1dc0, 0x20d0, 0xfe20];
const PILES = MARK_RANGES.map((first) => {
  const marks = Array.from({ length: 14 }, (_, index) => String.fromCodePoint(first + index));
  return [..."zalgo"].map((letter) => letter + marks.join("").repeat(3)).join("");
});

/** Words without a place to break, and letters that are wider or taller than others. */
const ENDLESS = [
  "W".repeat(500),
  "﷽".repeat(150),
  "𒐫".repeat(120),
  "꧅".repeat(200),
  "‱".repeat(300),
  "ﷺ".repeat(200),
  "a/".repeat(250),
  `https://example.org/${"path".repeat(110)}`,
  "—".repeat(400),
  "_".repeat(500),
  "漢".repeat(450),
  "👨‍👩‍👧‍👦".repeat(40),
  "🏴󠁧󠁢󠁥󠁮󠁧󠁿".repeat(40),
  "🇩🇪".repeat(100),
  "각".repeat(150),
  `${"a\u00a0".repeat(249)}a`,
  "\u0e01\u0e33\u0e49".repeat(150),
  "က္က".repeat(100),
  "ཀྵྲྀ".repeat(90),
  "नमस्ते".repeat(70),
];

const DIRECTIONS = [
  "שלום (hello) עולם 123 !?",
  "مرحبا <b>bold</b> بالعالم 456",
  "\u2067right\u2069 then left",
  "\u2066\u2067\u2068unbalanced",
  "a\u202egnp.exe",
  "\u200f\u200f\u200f- 1. אבג",
  "abc אבג def דהו ghi 1,234.5",
  "‮everything after‬ this",
  "‫embedded‬ ‪other‬",
  "؜العربية؜ 12/31",
];

const ODD = [
  "ﬀ ﬁ ﬂ ﬃ ﬄ ſt ﬆ",
  "𝓯𝓪𝓷𝓬𝔂 𝔱𝔢𝔵𝔱 ⓒⓘⓡⓒⓛⓔⓓ",
  "(╯°□°)╯︵ ┻━┻ ¯\\_(ツ)_/¯",
  "ǝpısdn uʍop",
  "\u3164\u3164 hangul filler",
  "e\u0301e\u0301e\u0301 é",
  "⎺⎻⎼⎽ ⸻ ⸻ ⸻",
  "☺︎ ☺️ ❤︎ ❤️",
  "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!͖̬̰̙̗̿̋ͥͥ̂ͣ̐́́͜͞",
  "་༘༙༚༛༜༝༞༟".repeat(8),
];

const BASE = [...MARKUP, ...PILES, ...ENDLESS, ...DIRECTIONS, ...ODD];

/** 200 of them. Numbers make each one different, as rooms may refuse a text that was said. */
export const hostileTexts = Array.from({ length: 200 }, (_, index) => {
  const text = BASE[index % BASE.length] ?? "";
  const round = Math.floor(index / BASE.length);
  if (round === 0) return text;
  const other = BASE[(index * 7 + round) % BASE.length] ?? "";
  return [...`${index} ${text} ${other}`].slice(0, 490).join("");
});
