//! A server's end that left rustls after its handshake, against a client that stays in it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;

use proptest::prelude::*;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::{
    AlertDescription, CipherSuiteCommon, ClientConfig, ClientConnection, KeyLog, RootCertStore,
    ServerConfig, Tls13CipherSuite,
};

use super::*;

mod refusals;

/// A record with a key update: its header, the message, its type and its tag.
const KEY_UPDATE_BYTES: usize = HEADER_BYTES + 5 + 1 + 16;

/// One direction of the network.
#[derive(Debug, Default)]
struct Wire {
    bytes: VecDeque<u8>,
    /// The most bytes under way; the writer waits for room.
    room: usize,
}

/// The server's end of the network.
#[derive(Debug)]
struct Network {
    to_server: Wire,
    to_client: Wire,
    /// Nothing follows what is under way to the server.
    ended: bool,
    /// The most bytes that each read brings, over and over. Empty: all.
    reads: VecDeque<usize>,
}

impl Read for Network {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.to_server.bytes.is_empty() && !self.ended {
            return Err(ErrorKind::WouldBlock.into());
        }
        let most = self.reads.front().map_or(buffer.len(), |most| buffer.len().min(*most));
        if !self.reads.is_empty() {
            self.reads.rotate_left(1);
        }
        self.to_server.bytes.read(&mut buffer[..most])
    }
}

impl Write for Network {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.to_client.room - self.to_client.bytes.len();
        if room == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.to_client.bytes.write(&bytes[..bytes.len().min(room)])
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

thread_local! {
    static SECRETS: RefCell<TrafficSecrets> = RefCell::default();
}

#[derive(Debug)]
struct KeepSecrets;

impl KeyLog for KeepSecrets {
    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        SECRETS.with_borrow_mut(|secrets| secrets.keep(label, secret));
    }
}

struct Pair {
    client: ClientConnection,
    server: RecordLayer,
    network: Network,
}

fn provider(suite: usize) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let tls13 = provider.cipher_suites.iter().filter(|suite| suite.tls13().is_some());
    provider.cipher_suites = vec![*tls13.cycle().nth(suite).unwrap()];
    Arc::new(provider)
}

fn older_provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_none());
    Arc::new(provider)
}

/// A suite whose keys may seal few records.
fn provider_of_short_keys(records: u64) -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    let suite = provider.cipher_suites.iter().find_map(|suite| suite.tls13()).unwrap();
    let common = CipherSuiteCommon {
        suite: suite.common.suite,
        hash_provider: suite.common.hash_provider,
        confidentiality_limit: records,
    };
    let short = Tls13CipherSuite {
        common,
        hkdf_provider: suite.hkdf_provider,
        aead_alg: suite.aead_alg,
        quic: None,
    };
    provider.cipher_suites = vec![SupportedCipherSuite::Tls13(Box::leak(Box::new(short)))];
    Arc::new(provider)
}

/// The ends of a connection in rustls.
struct Ends {
    client: ClientConnection,
    server: ServerConnection,
}

fn ends(provider: &Arc<CryptoProvider>) -> Ends {
    let made = rcgen::generate_simple_self_signed(["chat.test".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(provider.clone());
    let client = client.with_safe_default_protocol_versions().unwrap();
    let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let server = ServerConfig::builder_with_provider(provider.clone());
    let server = server.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let mut server = server.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    server.enable_secret_extraction = true;
    server.key_log = Arc::new(KeepSecrets);
    Ends {
        client: ClientConnection::new(client, "chat.test".try_into().unwrap()).unwrap(),
        server: ServerConnection::new(Arc::new(server)).unwrap(),
    }
}

/// A finished handshake, and what the server's end has of the client's bytes.
struct Connected {
    ends: Ends,
    tail: RecordTail,
    secrets: TrafficSecrets,
    /// The last bytes of the client, which are still under way.
    late: Vec<u8>,
}

impl Connected {
    /// `early` comes with the client's last handshake message, the last of its bytes `cut` so that
    /// they arrive after the server has left rustls.
    fn new(provider: &Arc<CryptoProvider>, early: &[u8], cut: usize) -> Self {
        let mut ends = ends(provider);
        // Never the whole record: its end must arrive late, not its beginning.
        let cut = if early.is_empty() { 0 } else { cut.min(early.len() + 21) };
        let mut tail = RecordTail::default();
        let mut late = Vec::new();
        while ends.client.is_handshaking() || ends.server.is_handshaking() {
            let mut bytes = ends.take_from_client();
            if !ends.client.is_handshaking() {
                ends.client.writer().write_all(early).unwrap();
                bytes.extend(ends.take_from_client());
                late = bytes.split_off(bytes.len() - cut);
            }
            tail.pass(&bytes);
            ends.give_to_server(&bytes);
            ends.carry_to_client();
        }
        Self { ends, tail, secrets: SECRETS.with_borrow(Clone::clone), late }
    }

    fn take_over(self) -> TakeOver {
        RecordLayer::take_over(self.ends.server, &self.secrets, self.tail).unwrap()
    }
}

impl Ends {
    fn take_from_client(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    fn give_to_server(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.server.read_tls(&mut bytes).unwrap();
            self.server.process_new_packets().unwrap();
        }
    }

    fn carry_to_client(&mut self) {
        let mut bytes = Vec::new();
        while self.server.wants_write() {
            self.server.write_tls(&mut bytes).unwrap();
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            self.client.read_tls(&mut bytes).unwrap();
            self.client.process_new_packets().unwrap();
        }
    }
}

impl Pair {
    /// Connects with one of the cipher suites.
    fn connect(suite: usize, early: &[u8], cut: usize) -> Self {
        Self::of(Connected::new(&provider(suite), early, cut))
    }

    fn of(Connected { ends: Ends { client, server }, tail, secrets, late }: Connected) -> Self {
        let server = match RecordLayer::take_over(server, &secrets, tail).unwrap() {
            TakeOver::Taken(server) => *server,
            TakeOver::Kept(session) => panic!("kept: {session:?}"),
        };
        let to_server = Wire { bytes: late.into(), room: 0 };
        let to_client = Wire { bytes: VecDeque::new(), room: usize::MAX };
        let network = Network { to_server, to_client, ended: false, reads: VecDeque::new() };
        Self { client, server, network }
    }

    /// Sends records that the client's end would not. It cannot send after them.
    fn client_seals<'a>(&mut self, records: impl IntoIterator<Item = (u8, &'a [u8])>) {
        let mut keys = self.server.reading.clone();
        for (kind, plain) in records {
            let mut record = Vec::new();
            let at = begin_record(&mut record);
            record.extend_from_slice(plain);
            keys.seal(kind, &mut record, at).unwrap();
            self.network.to_server.bytes.extend(record);
        }
    }

    /// Reads until the error that the server's end must find. Returns what the client is told.
    fn refusal(&mut self) -> Option<AlertDescription> {
        assert_eq!(self.server_reads().unwrap_err().kind(), ErrorKind::InvalidData);
        while !self.network.to_client.bytes.is_empty() {
            self.client.read_tls(&mut self.network.to_client.bytes).unwrap();
            match self.client.process_new_packets() {
                Ok(_) => {}
                Err(rustls::Error::AlertReceived(alert)) => return Some(alert),
                Err(error) => panic!("{error}"),
            }
        }
        None
    }

    fn client_sends(&mut self, text: &[u8]) {
        self.client.writer().write_all(text).unwrap();
        self.carry_from_client();
    }

    fn carry_from_client(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.network.to_server.bytes).unwrap();
        }
    }

    fn server_reads(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        while let Some(bytes) = self.server.read(&mut self.network, &mut buffer)? {
            if bytes == 0 {
                break;
            }
            all.extend_from_slice(&buffer[..bytes]);
        }
        Ok(all)
    }

    fn client_reads(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while !self.network.to_client.bytes.is_empty() {
            self.client.read_tls(&mut self.network.to_client.bytes).unwrap();
            self.client.process_new_packets().unwrap();
            // The reader blocks once it has nothing more.
            let _ = self.client.reader().read_to_end(&mut all);
        }
        all
    }

    /// Returns the sizes of the records under way to the client.
    fn records_to_client(&mut self) -> Vec<usize> {
        let mut rest: &[u8] = self.network.to_client.bytes.make_contiguous();
        let mut sizes = Vec::new();
        while let Some(bytes) = record_bytes(rest).unwrap() {
            rest = &rest[bytes..];
            sizes.push(bytes);
        }
        sizes
    }

    fn server_sends(&mut self, text: &[u8]) -> usize {
        self.server.write(&mut self.network, &[IoSlice::new(text)]).unwrap()
    }

    fn owns_no_buffer(&self) -> bool {
        let Self { server, .. } = self;
        [&server.early, &server.partial, &server.unsent].iter().all(|bytes| bytes.capacity() == 0)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever had arrived when the session left rustls, both ends go on as before.
    #[test]
    fn texts_pass_both_ways(
        suite in 0_usize..3,
        early in prop::collection::vec(any::<u8>(), 0..3000),
        cut in 0_usize..60,
        reads in prop::collection::vec(prop_oneof![1_usize..40, 1_usize..20_000], 0..6),
        from_client in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..9000), 0..4),
        from_server in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40_000), 0..4),
    ) {
        let mut pair = Pair::connect(suite, &early, cut);
        pair.network.reads = reads.into();
        let mut expected = early;
        for text in &from_client {
            pair.client_sends(text);
            expected.extend_from_slice(text);
        }
        prop_assert_eq!(pair.server_reads().unwrap(), expected);
        for text in &from_server {
            prop_assert_eq!(pair.server_sends(text), text.len());
        }
        prop_assert_eq!(pair.client_reads(), from_server.concat());
        prop_assert!(pair.owns_no_buffer());
    }
}

#[test]
fn many_slices_make_one_record() {
    let mut pair = Pair::connect(0, b"", 0);
    let texts: Vec<Vec<u8>> = (0..64).map(|n| vec![n; usize::from(n)]).collect();
    let slices: Vec<_> = texts.iter().map(|text| IoSlice::new(text)).collect();
    let taken = pair.server.write(&mut pair.network, &slices).unwrap();
    assert_eq!(taken, texts.concat().len());
    assert_eq!(pair.network.to_client.bytes.len(), HEADER_BYTES + taken + 1 + 16);
    assert_eq!(pair.client_reads(), texts.concat());
}

#[test]
fn a_socket_that_is_full_is_not_sent_more() {
    let mut pair = Pair::connect(1, b"", 0);
    pair.network.to_client.room = 1000;
    let text = vec![b'x'; 100_000];
    assert_eq!(pair.server_sends(&text), MAX_WRITE_BYTES);
    assert_eq!(pair.server_sends(b"more"), 0, "until the rest is taken");
    let mut seen = Vec::new();
    let kept = pair.server.unsent.as_ptr();
    while !pair.server.flush(&mut pair.network).unwrap() {
        assert_eq!(pair.server.unsent.as_ptr(), kept, "the rest was copied");
        seen.extend(pair.client_reads());
    }
    seen.extend(pair.client_reads());
    assert_eq!(seen, &text[..MAX_WRITE_BYTES]);
    assert_eq!(pair.server_sends(b"more"), 4);
    assert_eq!(pair.client_reads(), b"more");
}

#[test]
fn keys_are_renewed_when_either_end_wants_it() {
    for suite in 0..3 {
        let mut pair = Pair::connect(suite, b"", 0);
        for round in 0..3_u8 {
            pair.client.refresh_traffic_keys().unwrap();
            pair.client_sends(&[round; 10]);
            assert_eq!(pair.server_reads().unwrap(), [round; 10]);
            assert_eq!(pair.server_sends(&[round; 20]), 20, "under new keys");
            assert_eq!(pair.client_reads(), [round; 20]);
            pair.server.owes_key_update = true;
            assert_eq!(pair.server_sends(&[round; 30]), 30, "renewed by itself");
            assert_eq!(pair.client_reads(), [round; 30]);
        }
        assert!(pair.owns_no_buffer());
    }
}

#[test]
fn each_end_is_told_that_the_other_closes() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.client_sends(b"bye");
    pair.client.send_close_notify();
    pair.carry_from_client();
    let mut buffer = [0; 10];
    assert_eq!(pair.server.read(&mut pair.network, &mut buffer).unwrap(), Some(3));
    assert_eq!(pair.server.read(&mut pair.network, &mut buffer).unwrap(), Some(0));
    pair.server.say_close(&mut pair.network);
    pair.server.say_close(&mut pair.network);
    assert_eq!(pair.records_to_client().len(), 1, "told once");
    let mut bytes = pair.network.to_client.bytes;
    pair.client.read_tls(&mut bytes).unwrap();
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
}

#[test]
fn keys_that_are_used_up_are_renewed() {
    const LIMIT: u64 = 8;
    const TEXTS: u8 = 40;
    let mut pair = Pair::of(Connected::new(&provider_of_short_keys(LIMIT), b"", 0));
    // The handshake has sealed records as well, tickets for instance.
    let mut under_key = pair.server.writing.sequence();
    for n in 0..TEXTS {
        // A write of several records, of which the last may be left to the next write.
        let text = vec![n; 1 + usize::from(n) * 1500];
        let taken = pair.server_sends(&text);
        for bytes in pair.records_to_client() {
            under_key += 1;
            assert!(under_key <= LIMIT + 1, "{under_key} records with the key update");
            if bytes == KEY_UPDATE_BYTES && under_key > LIMIT {
                under_key = 0;
            }
        }
        assert_eq!(pair.client_reads(), &text[..taken]);
    }
}

#[test]
fn only_a_request_for_new_keys_is_answered() {
    let mut pair = Pair::connect(0, b"", 0);
    for _ in 0..3 {
        pair.client.refresh_traffic_keys().unwrap();
        pair.carry_from_client();
        assert_eq!(pair.server_reads().unwrap(), b"");
        assert_eq!(pair.records_to_client(), [KEY_UPDATE_BYTES]);
        assert_eq!(pair.client_reads(), b"");
    }
    let told: Vec<u8> = [&KEY_UPDATE[..], &[UPDATE_NOT_REQUESTED]].concat();
    pair.client_seals([(HANDSHAKE, &told[..])]);
    assert_eq!(pair.server_reads().unwrap(), b"");
    assert!(pair.records_to_client().is_empty(), "nothing was asked for");
}

#[test]
fn a_request_for_new_keys_waits_for_a_full_socket() {
    let mut pair = Pair::connect(0, b"", 0);
    pair.network.to_client.room = 10;
    let text = [7; 5000];
    assert_eq!(pair.server_sends(&text), text.len());
    pair.client.refresh_traffic_keys().unwrap();
    pair.client_sends(b"hello");
    assert_eq!(pair.server_reads().unwrap(), b"hello");
    let mut seen = Vec::new();
    while !pair.server.flush(&mut pair.network).unwrap() {
        seen.extend(pair.client_reads());
    }
    assert_eq!(pair.server_sends(b"under new keys"), 14);
    pair.network.to_client.room = usize::MAX;
    assert!(pair.server.flush(&mut pair.network).unwrap());
    seen.extend(pair.client_reads());
    assert_eq!(seen, [&text[..], b"under new keys"].concat());
}

#[test]
fn keys_renewed_before_the_takeover_are_followed() {
    let mut connected = Connected::new(&provider(0), b"", 0);
    for _ in 0..3 {
        connected.ends.client.refresh_traffic_keys().unwrap();
        let update = connected.ends.take_from_client();
        connected.tail.pass(&update);
        connected.ends.give_to_server(&update);
        // rustls answers with the next write.
        connected.ends.server.writer().write_all(b"!").unwrap();
        connected.ends.carry_to_client();
    }
    let mut pair = Pair::of(connected);
    pair.client.refresh_traffic_keys().unwrap();
    pair.client_sends(b"hello");
    assert_eq!(pair.server_reads().unwrap(), b"hello");
    assert_eq!(pair.server_sends(b"hello"), 5);
    assert!(pair.client_reads().ends_with(b"hello"));
}

#[test]
fn a_queued_key_update_keeps_the_session_in_rustls() {
    let mut connected = Connected::new(&provider(0), b"", 0);
    connected.ends.client.refresh_traffic_keys().unwrap();
    let update = connected.ends.take_from_client();
    connected.tail.pass(&update);
    connected.ends.give_to_server(&update);
    assert!(!connected.ends.server.wants_write(), "the answer is queued elsewhere");
    let Connected { ends: Ends { client, server }, tail, secrets, .. } = connected;
    let TakeOver::Kept(server) = RecordLayer::take_over(server, &secrets, tail).unwrap() else {
        panic!("the update would be lost");
    };
    let mut ends = Ends { client, server: *server };
    ends.server.writer().write_all(b"under new keys").unwrap();
    ends.carry_to_client();
    let mut seen = [0; 14];
    ends.client.reader().read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"under new keys");
}

#[test]
fn an_unfinished_or_older_session_stays_in_rustls() {
    let Ends { server, .. } = ends(&provider(0));
    let kept = RecordLayer::take_over(server, &TrafficSecrets::default(), RecordTail::default());
    assert!(matches!(kept.unwrap(), TakeOver::Kept(_)));
    let older = Connected::new(&older_provider(), b"", 0);
    assert!(!older.ends.server.is_handshaking());
    assert!(matches!(older.take_over(), TakeOver::Kept(_)));
}
