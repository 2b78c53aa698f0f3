package folder

func (b *builder) vocabulary(dir string, all []made) error { return nil }
