// Package dice writes model files of random weights: models of any size and
// element type to measure with, that nobody has to download.
//
// Start with [Named] or [Like] for a [Plan], and [Plan.Write]. The same plan
// gives the same bytes everywhere. Weights have the spread of trained ones
// (0.02), so that what a layer computes stays finite; the text that such a
// model writes means nothing.
package dice
