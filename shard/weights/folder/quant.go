package folder

import (
	"fmt"

	"github.com/shardnode/shardnode/tensorio"
)

// A Quant is how matrices are quantised. The zero Quant leaves them as they are.
type Quant struct{ name string }

// ParseQuant reads the name of a Quant.
func ParseQuant(name string) (Quant, error) {
	if name != "" {
		return Quant{}, fmt.Errorf("%q is not known", name)
	}
	return Quant{name}, nil
}

// String returns the name.
func (q Quant) String() string { return q.name }

func (q Quant) apply(b *builder, all []made) error {
	b.setKey("general.file_type", fileTypes[all[0].Type])
	b.setKey("general.quantization_version", uint32(2))
	return nil
}

var fileTypes = map[tensorio.Type]uint32{tensorio.F32: 0, tensorio.F16: 1, tensorio.BF16: 32}
