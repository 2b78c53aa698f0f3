// Package nearest finds the known name that is most like an unknown one, for
// errors that say what was probably meant. Start with [Of]. It keeps no state.
package nearest

// maxLetters is how much of a name is looked at: names come from strangers.
const maxLetters = 64

// Of returns the known name that is nearest to name, the first in alphabetical
// order among equals; "" if none is known. Known names may come in any order.
func Of(name string, known []string) string {
	best, least := "", 1<<30
	for _, k := range known {
		if d := Distance(name, k); d < least || d == least && k < best {
			best, least = k, d
		}
	}
	return best
}

// Distance is the number of bytes to insert, delete or replace to make b of a
// (Wagner and Fischer 1974), of at most the first 64 of each.
func Distance(a, b string) int {
	a, b = a[:min(len(a), maxLetters)], b[:min(len(b), maxLetters)]
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
