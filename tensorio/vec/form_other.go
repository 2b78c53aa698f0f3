//go:build !amd64

package vec

const hasAVX2 = false
