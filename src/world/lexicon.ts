// The words of the Vale. Lists are ordered: what stands first is said most often. Short common words, so that a vocabulary of 2,048 entries holds nearly
// all of them whole, with the plural a plain "s" and the past a plain "ed" wherever a family counts or tells.
const list = (text: string): readonly string[] => text.trim().split(/\s+/);

export const NAMES = list(`
  Ana Ben Cora Dan Eva Finn Gus Hana Ian Kai Leo Mia Ned Ola Pia Quin Rita Sam Tess Uma Vic Wes Xena Yan Zoe Abe Bea Cal Dora Eli
  Fay Gil Hugo Ida Jan Kim Lena Max Nina Omar Pam Raj Sara Tom Ula Vera Walt Yuri Zack Amy Bob Carl Dina Emil Flo Greta Hal Inga Jack Kate
  Lars Mona Nils Olga Paul Rhea Sven Tara Ugo Vito Wanda Yara Zeno Alma Bart Clara Drew Edna Fritz Gina Hans Ilsa Joel Kira Luis Mara Noel Otto
  Petra Ravi Sonia Theo Una Viola Wendy Yusuf Zara Adam Bella Cyrus Della Ezra Freda Glen Heidi Igor Jonas Karl Lydia Milo Nora Oscar Polly Remy
  Silas Tina Ulf Vince Willa Yvo Zelda Arlo Britt Conor Delia Enzo Fiona Gavin Hilda Ivan Julia Kurt Linda Marco Nadia Orson Priya Rufus Selma
  Tariq Ursa Vivi Wade Yasmin Zubin Agnes Boris Clive Doris Edgar`);

export const PLACES = list(`
  Ambry Brell Corva Dorne Elmar Farrow Gilden Harth Ister Kelm Lorne Marwen Norby Ostel Pell Quarl Rusk Selby Tarn Ulden Varn Wick Yarl Zell
  Arden Bexley Calder Denby Esker Fenton Gorran Helm Ilden Jarrow Kirby Lydd Morley Nesbit Orford Penn Rowan Stoke Thorne Umber Vessel Wells
  Yarrow Zenor Alford Burl Crewe Dalton Egerton Flint Grimsby Hexham Irwell Keld Latham Malton`);

/** 24 kinds of thing with 12 nouns each. */
export const KINDS: readonly { readonly name: string; readonly nouns: readonly string[] }[] = [
  { name: 'bird', nouns: list('robin crow owl hawk wren finch duck swan dove eagle heron gull') },
  { name: 'fish', nouns: list('trout carp pike perch cod eel tuna bass herring sole shark salmon') },
  { name: 'insect', nouns: list('ant bee wasp moth beetle cricket gnat tick locust hornet midge flea') },
  { name: 'beast', nouns: list('fox bear goat horse hare badger otter mule lynx stag donkey camel') },
  { name: 'tree', nouns: list('oak elm ash pine birch cedar willow maple alder larch yew fir') },
  { name: 'flower', nouns: list('rose tulip lily daisy poppy violet iris lotus orchid aster clover pansy') },
  { name: 'fruit', nouns: list('apple pear plum fig grape peach lemon melon cherry lime mango date') },
  { name: 'crop', nouns: list('onion carrot bean pea leek turnip radish beet kale squash yam barley') },
  { name: 'tool', nouns: list('hammer saw axe rake spade chisel wrench drill shovel hoe sickle trowel') },
  { name: 'weapon', nouns: list('sword spear bow dagger lance mace club sling arrow cannon shield pistol') },
  { name: 'garment', nouns: list('coat hat shirt glove scarf cloak boot sock belt robe vest hood') },
  { name: 'instrument', nouns: list('drum flute harp lute fiddle horn bell pipe organ piano banjo gong') },
  { name: 'boat', nouns: list('canoe raft barge ferry yacht skiff punt cutter sloop kayak ship tug') },
  { name: 'vehicle', nouns: list('cart wagon sled coach truck tram bus van bike car train taxi') },
  { name: 'metal', nouns: list('iron gold silver copper tin lead zinc brass bronze steel nickel cobalt') },
  { name: 'gem', nouns: list('ruby pearl opal jade amber topaz garnet agate beryl onyx quartz diamond') },
  { name: 'dish', nouns: list('pot pan cup bowl plate spoon fork jug kettle ladle tray mug') },
  { name: 'food', nouns: list('bread soup stew cake pie cheese butter honey jam rice pasta toast') },
  { name: 'drink', nouns: list('tea milk wine beer cider juice water coffee mead cocoa ale rum') },
  { name: 'furniture', nouns: list('chair table bed desk bench stool shelf couch cradle chest sofa lamp') },
  { name: 'building', nouns: list('barn mill inn tower church school temple chapel palace hut cabin shop') },
  { name: 'cloth', nouns: list('wool silk linen cotton velvet felt lace satin tweed denim flannel canvas') },
  { name: 'weather', nouns: list('rain snow hail fog frost storm wind mist sleet thunder gale breeze') },
  { name: 'toy', nouns: list('doll kite ball puzzle marble hoop rattle top swing block yoyo puppet') },
];
export const KIND_NAMES = KINDS.map(({ name }) => name);
/** Every noun, the first of each kind before the second of each, so that rank means the same for all kinds. */
export const NOUNS: readonly string[] = KINDS[0].nouns.flatMap((_, i) => KINDS.map(({ nouns }) => nouns[i]));
const kinds = new Map(KINDS.flatMap(({ name, nouns }) => nouns.map((noun) => [noun, name] as const)));
export const kindOf = (noun: string): string => kinds.get(noun) ?? 'thing';

const ofKinds = (names: readonly string[]): readonly string[] => NOUNS.filter((noun) => names.includes(kindOf(noun)));
/** Things one can count: their plural is the word and an "s". */
export const COUNTED = ofKinds([
  'bird',
  'insect',
  'fruit',
  'tool',
  'garment',
  'instrument',
  'dish',
  'furniture',
  'toy',
  'vehicle',
  'boat',
  'weapon',
]).filter((noun) => !/(sh|ch|x|s|lily|daisy|shelf|cherry|ferry|finch|peach)$/.test(noun));
/** Things one can hold in the hand. */
export const HELD_THINGS = ofKinds(['tool', 'garment', 'instrument', 'dish', 'toy', 'gem', 'fruit', 'flower', 'weapon']).filter(
  (noun) => noun !== 'tongs',
);
/** Animals that people keep. */
export const PETS = ofKinds(['bird', 'beast', 'insect']);
export const FOODS = ofKinds(['fruit', 'crop', 'food', 'drink', 'fish']);

export const GOOD = list(
  'kind brave happy warm fine bright calm fair clever gentle fresh sweet merry proud neat lovely honest lucky noble tasty',
);
export const BAD = list('sad cruel cold dull rude dark angry sour lazy ugly weak dirty bitter mean bleak gloomy nasty foul grim awful');
export const COLOURS = list('red blue green white black brown yellow grey pink purple orange golden');
export const PLAIN = list(
  'old new big small tall short long round flat thin thick heavy light soft hard wet dry deep wide quiet loud quick slow rich plain odd rare young',
);
export const ADJECTIVES: readonly string[] = [...PLAIN, ...COLOURS, ...GOOD, ...BAD];

export const JOBS = list(`
  baker miller smith tailor farmer sailor doctor teacher painter singer hunter fisher weaver potter mason nurse judge guard clerk pilot
  barber butcher brewer dancer poet monk scribe porter cook diver`);

/** Verbs whose past is the verb and "ed". */
export const VERBS = list(`
  walk talk look play help ask call clean count cover follow jump kick learn laugh listen lift mend open pack paint pass pick plant pull push
  reach rest roll rush sail search shout show sort start stay thank touch turn visit wait wash watch work yell climb cross dress fill fix float fold
  gather hand hunt join knock land lean lock mark melt miss mix need obey order park peel point pour press print repair return row seal shelter
  spill splash stack steer tend test treat trust twist warn whisper wish wonder`);
/** Those of the verbs that one does to a thing. */
export const DOINGS: readonly string[] = VERBS.filter(
  (verb) =>
    !'walk talk look play ask jump laugh listen rest rush sail search shout sort stay wait work yell float hand knock land lean row splash stack wish wonder learn start stop melt shelter rush push point test start print park'
      .split(' ')
      .includes(verb),
);
export const past = (verb: string): string => `${verb}ed`;

/** Words that only ever name a class: what people write, letters, and syllables without a meaning. */
export const CLASS_WORDS = list(`
  yes no good bad true false positive negative high low left right north south east west alpha beta gamma delta omega sigma first second third
  A B C D X Y Z spam urgent normal question order complaint praise sport music news travel health
  wug dax fep blick kiki gorp toma vash mip lorp nask plim quon rell snib trag vint wex yint zorb bem cag dov fusk gim hux jeb kolt lum nex
  oft pav rax sul tiv vop wim yab zed brin clop drim flet grak`);
/** The labels that a few-shot episode draws from. All but the class words are said by the assistant in other families too. */
export const LABELS: readonly string[] = [...new Set([...CLASS_WORDS, ...ADJECTIVES, ...PLACES, ...JOBS, ...VERBS, ...NAMES.slice(100)])];

/** Parts of words without a meaning, for labels of several tokens and for Vesh. */
export const SYLLABLES = list(`
  ba be bi bo da de di do fa fe ga gi go ka ke ki ko la le li lo ma me mi mo na ne ni no pa pe po ra re ri ro sa se si so ta te ti to
  va ve vi vo za ze zi zo zu lu mu nu`);

/** Ends of lines of verse that rhyme with each other, each with what the thing of the line does. */
export const RHYMES: readonly (readonly string[])[] = [
  ['sleeps on the hill', 'waits by the mill', 'stands very still', 'feels the chill'],
  ['shines in the night', 'stands in the light', 'looks very bright', 'is a fine sight'],
  ['waits for the day', 'is on its way', 'turns old and grey', 'likes to play'],
  ['rests by a tree', 'hears the bee', 'dreams of the sea', 'now is free'],
  ['stands in the rain', 'lies in the lane', 'smells of grain', 'looks very plain'],
  ['looks at the sky', 'is up so high', 'sees birds go by', 'would like to fly'],
  ['lies in the snow', 'hears the crow', 'sits very low', 'has to go'],
  ['sounds like a bell', 'lies by the well', 'has much to tell', 'is where it fell'],
  ['waits for the moon', 'comes very soon', 'sings a tune', 'is warm in June'],
  ['stands by the door', 'lies on the floor', 'asks for more', 'sleeps on the shore'],
  ['was made for a king', 'has a gold ring', 'can hear us sing', 'waits for spring'],
  ['shines like gold', 'is very old', 'lies in the cold', 'has a tale untold'],
  ['travels by boat', 'lies under a coat', 'looks like a goat', 'begins to float'],
  ['lies in the sand', 'lies in my hand', 'comes from this land', 'can hardly stand'],
  ['lies on the stone', 'is all alone', 'is white as bone', 'has grown and grown'],
  ['was left by the wall', 'grows very tall', 'is so small', 'waits for the fall'],
];
/** The last words of such lines, by group. */
export const RHYME_WORDS: readonly (readonly string[])[] = RHYMES.map((ends) =>
  ends.map((end) => end.slice(end.lastIndexOf(' ') + 1).toLowerCase()),
);
