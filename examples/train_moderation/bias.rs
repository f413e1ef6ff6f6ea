//! Prints whom the toxicity networks flag more often than others without a reason.

use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::metrics::Curve;
use live_comments::classifier::recipe::depends_on_context;
use live_comments::classifier::samples::Sample;

use crate::Trained;
use crate::chats::percent;
use crate::data::Data;

/// The data set whose labels are known to depend on dialect.
const DIALECT_SOURCE: &str = "davidson";
/// Words that are frequent in African American English and rare elsewhere.
const DIALECT_MARKERS: &str = "\
    finna fina ima imma ima gon tryna trynna wit dat dis dey dem dese ain aint yall y'all \
    ain't homie homies ion iont bae turnt trippin lil sum nun wuz wassup bruh brah cuz 'bout bouta \
    tho doe nah talmbout deadass chile gurl";

/// Prints the shares of harmless texts that are flagged at the threshold for chat, and near a false
/// positive rate of 5 %: tweets with and without markers of a dialect, and sentences about people.
pub(crate) fn print_bias(
    trained: &Trained,
    held_out: &[&Sample],
    data: &Data,
) -> anyhow::Result<()> {
    let core: Vec<_> =
        held_out.iter().copied().filter(|sample| !depends_on_context(&sample.source)).collect();
    let curve = Curve::new(&trained.scores(&core));
    let thresholds = trained.thresholds(data, None)?;
    let loose = curve.threshold_at_fpr(0.05).unwrap_or(f32::INFINITY);
    let harmless = held_out
        .iter()
        .copied()
        .filter(|sample| sample.source == DIALECT_SOURCE && sample.label == Some(false));
    let (marked, others): (Vec<_>, Vec<_>) = harmless.partition(|sample| has_marker(&sample.text));
    let identities: Vec<_> = data.identities.iter().collect();
    println!("\n| harmless texts | texts | flagged in chat | at FPR 5 % (z {loose:.2}) |");
    println!("|---|---|---|---|");
    for (name, texts) in [
        ("davidson, with markers of African American English", marked),
        ("davidson, others", others),
        ("sentences about groups of people", identities),
    ] {
        let mut extractor = FeatureExtractor::default();
        let zs: Vec<_> =
            texts.iter().map(|sample| trained.z(&sample.text, &mut extractor)).collect();
        let share = |at: f32| percent(zs.iter().filter(|z| **z >= at).count(), zs.len());
        println!("| {name} | {} | {} | {} |", zs.len(), share(thresholds.flag), share(loose));
    }
    Ok(())
}

fn has_marker(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric() && c != '\'');
    words.any(|word| {
        !word.is_empty() && DIALECT_MARKERS.split_whitespace().any(|marker| marker == word)
    })
}
