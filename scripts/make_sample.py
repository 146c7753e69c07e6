"""Write the synthetic Indonesian review sample: sentiment_batch/sample/{train,valid,test}.tsv.

A review is a plan (which clauses of which polarity, in which order) filled from the word lists below and then
roughened: chat abbreviations, elongation, typos, case, punctuation, emoji. The label comes from the plan, so it
follows the clause that decides ("tempatnya bagus tapi pelayanannya lambat banget" is negative).

What holds for the three files:
- running the script again writes the same bytes (SEED; the standard library's generator only);
- no sentence occurs in two of them, neither as it was planned nor as it is written, compared in lower case without
  punctuation; no text occurs twice in one of them, compared the same way;
- list items marked "+" never reach train: valid and test hold words and sentence forms that train lacks;
- about AMBIGUOUS_SHARE of the texts could bear another label. No label is flipped at random.
"""

import random
import re
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

SEED = 20250101
SIZES = {"train": 3000, "valid": 500, "test": 500}
CLASS_SHARES = {"positive": 0.5, "neutral": 0.2, "negative": 0.3}
AMBIGUOUS_SHARE = 0.015
HELD_OUT_SHARE = 0.06
MAX_WORDS = 60
SAMPLE_FOLDER = Path(__file__).resolve().parents[1] / "sentiment_batch" / "sample"


class Aspect(NamedTuple):
    """What a review can judge. Each field lists its items between "|".

    `pairs` are a good and a bad adjective that answer each other ("bersih/kotor"): they are negated, compared and
    doubled. `praise`, `blame` and `fact` are whole predicates.
    """

    noun: str
    pairs: str
    praise: str
    blame: str
    fact: str


class Domain(NamedTuple):
    """One kind of review: what it is about, and whole clauses that only make sense there.

    A review speaks of one of `things`, wherever {thing} stands; {thing2} is another one.
    """

    things: str
    price: str
    subject: str
    act: str
    again: str
    other: str
    claim: str
    aspects: tuple[Aspect, ...]
    good_events: str
    bad_events: str
    context: str
    info: str
    questions: str


RESTAURANT = Domain(
    things="""nasi goreng | ayam geprek | soto ayam | bakso urat | mie ayam | rendang | sate kambing | ikan bakar |
        sop iga | nasi uduk | ayam bakar | +gado-gado | +rawon | +gudeg""",
    price="12 ribu | 15rb | 18 ribu | 20 ribu | 25rb | 30 ribu | 45 ribu | 50rb | +35 ribu",
    subject="tempat ini | warung ini | resto ini | kafe ini | rumah makan ini | +kedai ini",
    act="makan di sini | ke sini | pesan di sini | mampir ke sini | +nongkrong di sini",
    again="balik lagi | ke sini lagi | makan di sini lagi | pesan lagi",
    other="tempat sebelah | resto lain | cabang yang di {city} | warung langganan saya | +kedai dekat rumah",
    claim="di fotonya | kata orang | dulu | yang diceritakan teman | waktu baru buka",
    aspects=(
        Aspect(
            noun="makanannya | {thing}nya | {thing}nya | {thing}nya | rasa {thing}nya | +masakannya",
            pairs="enak/hambar | gurih/tawar | segar/amis | nikmat/aneh | hangat/dingin | lezat/biasa | +sedap/anyep",
            praise="""bumbunya meresap | bikin nagih | pas di lidah | porsinya besar | juara | favorit keluarga saya |
                disajikan panas-panas | pedasnya mantap | +bikin mau nambah terus""",
            blame="""keasinan | porsinya dikit | masih setengah matang | kebanyakan minyak | bikin sakit perut |
                ada rambutnya | kayak dipanaskan ulang | +seperti sisa kemarin""",
            fact="""dimasak setelah dipesan | porsinya untuk satu orang | ada yang pedas dan tidak pedas |
                seperti warung pada umumnya | cenderung manis | disajikan dengan nasi | +pakai resep rumahan""",
        ),
        Aspect(
            noun="minumannya | es kopinya | jus alpukatnya | es tehnya | kopi susunya | +wedang jahenya",
            pairs="segar/encer | enak/hambar | wangi/apek | nikmat/pahit | +mantap/asam",
            praise="manisnya pas | cocok diminum siang-siang | bikin melek | beda dari yang lain",
            blame="""kemanisan | kebanyakan es | cuma terasa air gula | gelasnya kotor | sering kosong |
                +kayak air cucian""",
            fact="ada ukuran sedang dan besar | bisa pilih kadar gulanya | disajikan di gelas plastik",
        ),
        Aspect(
            noun="tempatnya | suasananya | ruangannya | area luarnya | +tempat duduknya",
            pairs="nyaman/bising | bersih/kotor | luas/sempit | adem/panas | sejuk/pengap | bagus/kumuh | +lega/gerah",
            praise="cocok buat kumpul keluarga | instagramable | bikin betah | enak buat kerja | +ramah anak",
            blame="banyak lalatnya | penuh asap rokok | mejanya lengket | bau got | +bocor pas hujan",
            fact="ada di lantai dua | muat sekitar {tens} orang | dekat stasiun | semi terbuka | +di dalam gang",
        ),
        Aspect(
            noun="pelayanannya | pelayannya | kasirnya | mas-masnya | mbak kasirnya | +stafnya",
            pairs="ramah/jutek | sigap/lelet | cepat/lambat | sopan/judes | tanggap/cuek | +cekatan/lemot",
            praise="murah senyum | sabar menjawab pertanyaan | cepat tanggap | ingat pesanan pelanggan",
            blame="salah antar pesanan | main HP terus | harus dipanggil berkali-kali | tidak minta maaf",
            fact="pakai seragam hitam | cuma berdua | memakai sistem nomor antrean | +ganti shift jam empat",
        ),
        Aspect(
            noun="harganya | harga menunya | harga {thing}nya | +tarif parkirnya",
            pairs="murah/mahal | terjangkau/tinggi | wajar/keterlaluan | bersahabat/overprice | +miring/selangit",
            praise="ramah di kantong | sebanding dengan rasanya | pas buat anak kos | +tidak bikin dompet nangis",
            blame="tidak sebanding dengan porsinya | naik terus | beda dengan di menu | +bikin kaget pas bayar",
            fact="mulai dari {price} | belum termasuk pajak | sama dengan di aplikasi | sekitar {price}",
        ),
    ),
    good_events="""sambalnya boleh nambah sepuasnya | baru {num} menit {thing} sudah datang |
        dikasih bonus {thing2} sama pemiliknya | anak saya sampai nambah {num} kali |
        {thing} langsung habis tak bersisa | ramai tapi tetap cepat dilayani |
        salah pesan malah dibantu tukar {thing2} tanpa bayar lagi |
        sudah {num} tahun rasa {thing} tetap konsisten | tiap ke {city} selalu mampir |
        +{thing} di sini mengobati rindu kampung""",
    bad_events="""nunggu {thing} sampai {tens} menit | pesan {thing} yang datang malah {thing2} |
        {thing} habis tapi masih ditulis di menu | ada lalat di {thing} | habis makan {thing} langsung mules |
        struknya dihitung dobel | sudah reservasi tetap disuruh nunggu {tens} menit |
        pesanan kurang {num} tapi dibilang sudah lengkap | {thing} sampai rumah sudah tumpah semua |
        +minta air putih saja nunggu {tens} menit""",
    context="""ke sini {day} bareng {who} | pesan {thing} dan {thing2} | makan siang {day} sama {who} |
        mampir {day} habis dari {city} | dibawa {who} ke sini {day} | pesan {thing} lewat aplikasi {day} |
        saya ambil {thing} {num} porsi | +datang {day} pas hujan""",
    info="""buka dari {hour} sampai malam | lokasinya di seberang minimarket | menu utamanya {thing} dan {thing2} |
        parkir motor ada di samping | bisa bayar pakai QRIS | cabang lainnya ada di {city} |
        {thing} harganya {price} | ada mushola di belakang | hari Senin tutup | kapasitasnya {tens} kursi |
        +stok {thing} terbatas setiap hari""",
    questions="""bisa pesan antar ke {city} tidak | {thing} masih ada tidak | apakah ada menu {thing} |
        buka sampai jam berapa | apa bisa reservasi untuk {tens} orang | ada colokan tidak |
        {thing} harganya berapa ya | {thing} sama {thing2} enakan mana | {thing}nya pedas banget atau tidak |
        +boleh bawa kue sendiri""",
)

HOTEL = Domain(
    things="kamar deluxe | kamar standar | kamar keluarga | kamar superior | kamar twin | +kamar suite",
    price="100 ribu | 150 ribu | 200rb | 250 ribu | 300rb | 400 ribu | 550 ribu | +350rb | +700 ribu",
    subject="hotel ini | penginapan ini | tempat ini | villa ini | +homestay ini",
    act="menginap di sini | ke sini | pesan kamar di sini | staycation di sini | +bermalam di sini",
    again="menginap di sini lagi | balik lagi | ke sini lagi | pesan di sini lagi",
    other="hotel sebelah | penginapan lain | hotel langganan saya | hotel yang di {city} | +losmen dekat terminal",
    claim="di fotonya | di aplikasi | tahun lalu | yang dijanjikan | kata ulasan lain",
    aspects=(
        Aspect(
            noun="kamarnya | kamar mandinya | {thing}nya | ruang tidurnya | +balkonnya",
            pairs="""bersih/kotor | wangi/bau | luas/sempit | nyaman/berisik | rapi/berantakan | bagus/kusam |
                +sejuk/apek""",
            praise="pemandangannya bagus | kedap suara | bikin tidur nyenyak | airnya panas stabil | +serasa di rumah",
            blame="""banyak kecoanya | AC-nya bocor | airnya mati | bernoda di mana-mana | lampunya kedip-kedip |
                +temboknya berjamur""",
            fact="ada di lantai {num} | menghadap jalan | isinya dua kasur | tanpa jendela | +berlantai kayu",
        ),
        Aspect(
            noun="kasurnya | seprainya | handuknya | bantalnya | +selimutnya",
            pairs="empuk/keras | bersih/kotor | wangi/apek | nyaman/gatal | tebal/tipis | +lembut/kasar",
            praise="diganti tiap hari | bikin susah bangun | seperti baru | pas di badan",
            blame="ada noda kuningnya | bekas orang | bolong | tidak diganti {num} hari",
            fact="warna putih | jumlahnya dua | bisa minta tambahan | dari bahan biasa",
        ),
        Aspect(
            noun="pelayanannya | resepsionisnya | stafnya | petugas kebersihannya | +satpamnya",
            pairs="ramah/jutek | sigap/lelet | sopan/kasar | cepat/lambat | tanggap/cuek | +luwes/ketus",
            praise="membantu bawa koper | kasih info wisata dengan sabar | selalu menyapa | +hafal nama tamu",
            blame="susah dihubungi | saling lempar tanggung jawab | tidak ada di tempat | masuk kamar tanpa permisi",
            fact="berjaga 24 jam | bicara bahasa Inggris juga | minta deposit {price} | meminta KTP saat masuk",
        ),
        Aspect(
            noun="sarapannya | menu sarapannya | buffet paginya | +bubur paginya",
            pairs="enak/hambar | lengkap/sedikit | beragam/monoton | hangat/dingin | segar/basi",
            praise="banyak pilihan | bikin kenyang sampai siang | selalu diisi ulang | +cocok buat lidah anak",
            blame="cepat habis | itu-itu saja | piringnya kotor | antrenya panjang | +seadanya",
            fact="mulai {hour} | diantar ke kamar | berupa nasi goreng dan roti | dihitung terpisah",
        ),
        Aspect(
            noun="fasilitasnya | kolam renangnya | wifi-nya | lift-nya | parkirannya | +ruang gym-nya",
            pairs="bagus/jelek | oke/payah | aman/rawan | terawat/rusak | +mumpuni/usang",
            praise="lancar dipakai | tidak pernah bermasalah | bisa dipakai sampai malam | +sepadan dengan bintangnya",
            blame="ditutup tanpa pemberitahuan | mati terus | disuruh bayar lagi | tidak sesuai iklan",
            fact="ada di lantai dasar | dipakai bergantian | dibatasi sampai {hour} | perlu kartu kamar",
        ),
        Aspect(
            noun="lokasinya | posisi hotelnya | lingkungannya | +akses jalannya",
            pairs="strategis/terpencil | aman/seram | tenang/bising | dekat/jauh | lancar/macet",
            praise="tinggal jalan kaki ke pusat kota | dekat ke mana-mana | gampang cari makan | +bebas banjir",
            blame="susah dicari | jalannya rusak parah | jauh dari mana-mana | persis di sebelah proyek",
            fact="dekat stasiun | sekitar {num} kilometer dari bandara | di pinggir jalan raya | di belakang pasar",
        ),
    ),
    good_events="""dapat upgrade ke {thing2} gratis | boleh check in lebih awal jam {num} |
        anak-anak main air sampai sore | barang ketinggalan malah diantar ke {city} |
        {num} malam di sini rasanya kurang | dikasih kue waktu {who} ulang tahun |
        minta bantal tambahan {num} menit langsung diantar | +dapat {thing} dengan pemandangan gunung""",
    bad_events="""check in nunggu sampai {num} jam | sudah bayar {thing} tapi dibilang penuh |
        deposit {price} belum dikembalikan | tengah malam listrik mati {num} kali |
        jam {num} pagi sudah digedor disuruh check out | nemu {num} kecoa di kamar mandi |
        lapor AC rusak dari {day} tidak ditanggapi | dapat {thing} bekas orang belum dibereskan |
        pesan {thing} dikasih {thing2} | ditagih {price} untuk handuk yang tidak saya pakai |
        +badan gatal-gatal semua habis tidur""",
    context="""menginap {num} malam {day} | ke sini bareng {who} {day} | ada acara kantor di {city} {day} |
        pesan {thing} lewat aplikasi {day} | transit semalam sebelum ke {city} | liburan {day} sama {who} |
        dapat {thing} di lantai {num} | +urusan dinas {num} hari di {city}""",
    info="""check in mulai jam dua siang | {thing} tersedia {tens} unit | harga {thing} {price} per malam |
        jarak ke stasiun {num} kilometer | sarapan mulai {hour} | ada {thing} dan {thing2} | bisa bayar di tempat |
        parkir muat {tens} mobil | extra bed {price} per malam | {thing} ada di lantai {num} |
        +kolam renang buka mulai {hour}""",
    questions="""boleh bawa hewan peliharaan tidak | apakah harga {thing} sudah termasuk sarapan |
        bisa late check out sampai jam {num} tidak | ada antar jemput bandara tidak |
        {thing} muat untuk {num} orang tidak | apa bisa refund kalau batal {num} hari sebelumnya |
        extra bed berapa ya | beda {thing} dengan {thing2} apa | {thing} itu bersih dan nyaman tidak |
        +parkir bus bisa tidak""",
)

SELLER = Aspect(
    noun="penjualnya | adminnya | respon penjualnya | pelayanan tokonya | +customer service-nya",
    pairs="cepat/lambat | ramah/jutek | sopan/galak | tanggap/cuek | gesit/lelet | +telaten/sembrono",
    praise="balas chat dalam {num} menit | kasih bonus {num} masker | amanah | mau ganti rugi | sabar ditanya-tanya",
    blame="""cuma membaca chat | salah kirim terus | menolak retur | lepas tangan | banyak alasan |
        +menghilang habis dibayar""",
    fact="aktif di jam kerja | ada di {city} | meminta video unboxing | membalas lewat chat otomatis",
)
PACKAGING = Aspect(
    noun="packing-nya | pengemasannya | bungkusnya | kemasannya | kardusnya | +pembungkusnya",
    pairs="rapi/berantakan | aman/penyok | tebal/tipis | kuat/ringkih | bagus/jelek | +rapat/sobek",
    praise="pakai bubble wrap tebal | berlapis-lapis | segelnya utuh | tidak lecet sedikit pun",
    blame="cuma plastik tipis | sudah terbuka | basah semua | tidak pakai pelindung apa-apa",
    fact="pakai kardus polos | pakai plastik warna {color} | dikirim dari {city} | dibungkus koran",
)
SHIPPING = Aspect(
    noun="pengirimannya | kurirnya | proses kirimnya | +ekspedisinya",
    pairs="cepat/lambat | tepat/telat | aman/ngaco | lancar/macet | +kilat/molor",
    praise="cuma {num} hari | sampai lebih cepat dari estimasi | selalu dikabari | +besoknya langsung sampai",
    blame="sampai {num} minggu | nyasar ke {city} | tidak sampai-sampai | tidak ada kabar sama sekali",
    fact="{num} hari ke {city} | memakai layanan reguler | lewat gudang {city} | sesuai estimasi umumnya",
)

FASHION = Domain(
    things="kaos | kemeja | gamis | jaket | daster | blus | hoodie | piyama | tunik | baju koko | +sweater | +kardigan",
    price="40 ribu | 50rb | 65 ribu | 80 ribu | 100rb | 120 ribu | 150 ribu | +95 ribu | +175rb",
    subject="toko ini | produk ini | barang ini | seller ini | +lapak ini",
    act="beli di sini | belanja di sini | pesan di toko ini | order di sini | +checkout di sini",
    again="beli lagi | order lagi | belanja di sini lagi | pesan warna lain | +repeat order",
    other="toko sebelah | toko lain | merek lain | yang saya beli di {city} | +lapak yang dulu",
    claim="di fotonya | di deskripsi | pembelian pertama | di videonya | yang dulu",
    aspects=(
        Aspect(
            noun="bahannya | kainnya | {thing}nya | bahan {thing}nya | +serat kainnya",
            pairs="adem/panas | halus/kasar | tebal/tipis | lembut/gatal | bagus/jelek | nyaman/gerah | +lemas/kaku",
            praise="""tidak gampang kusut | dipakai seharian tetap enak | kayak barang butik |
                dicuci berkali-kali tetap oke""",
            blame="luntur pas dicuci | baru sekali pakai sudah sobek | bau apek | melar habis dicuci | +berbulu",
            fact="katun campuran | agak stretch | tersedia warna {color} dan {color2} | perlu disetrika | +dua lapis",
        ),
        Aspect(
            noun="jahitannya | resletingnya | kancingnya | obrasannya | sablonnya | +bordirannya",
            pairs="rapi/berantakan | kuat/rapuh | rapat/renggang | halus/kasar | bagus/asal | +presisi/miring",
            praise="seperti buatan penjahit mahal | tidak ada cacatnya | awet | +tahan ditarik anak",
            blame="copot waktu dicoba | harus dibenerin sendiri | banyak cacatnya | lepas {num} hari",
            fact="warna {color} | model standar | ada di bagian samping | disembunyikan di dalam",
        ),
        Aspect(
            noun="ukurannya | size-nya | potongannya | modelnya | +panjangnya",
            pairs="pas/kekecilan | sesuai/meleset | cocok/aneh | bagus/norak | longgar/ngatung | +ideal/nanggung",
            praise="enak di badan saya | sesuai size chart | bikin kelihatan langsing | +muat sampai hamil tua",
            blame="beda jauh dari size chart | tidak sesuai pesanan | selisih {num} senti | tidak muat sama sekali",
            fact="""tersedia dari S sampai XXL | mengikuti ukuran lokal | saya ambil yang {size} |
                lebar dadanya {tens} senti""",
        ),
        Aspect(
            noun="warnanya | motifnya | warna {color}nya | +gradasi warnanya",
            pairs="cantik/norak | cerah/kusam | sesuai/beda | bagus/pudar | rata/belang",
            praise="persis seperti di foto | tidak luntur | masuk ke semua bawahan | +aslinya lebih cakep",
            blame="tidak sama dengan foto | luntur ke baju lain | dikirim asal | tidak sesuai pilihan",
            fact="lebih tua sedikit dari foto | ada {num} pilihan | mirip {color} | tergantung stok gudang",
        ),
        SELLER,
        PACKAGING,
        SHIPPING,
    ),
    good_events="""dapat bonus {thing2} dari penjual | baru {num} hari sudah sampai {city} |
        {who} sampai minta dibelikan juga | pesan {num} {thing} datang lengkap semua |
        {thing} sudah dicuci {num} kali warnanya tetap | {thing} dipakai kondangan banyak yang nanya beli di mana |
        salah ukuran langsung ditukar {size} gratis | ini pembelian {thing} ke-{num} dan tetap sama kualitasnya |
        +{thing} langsung dipakai {who} ke kantor""",
    bad_events="""pesan {thing} {color} yang datang {color2} | pesan ukuran {size} yang datang {size2} |
        pesan {num} {thing} cuma dikirim satu | baru dicuci {num} kali {thing} sudah pudar |
        {thing} datang dengan noda di depan | retur {thing} sudah {num} minggu belum diproses |
        ditanya soal {thing} malah diblokir | {thing} bolong di bagian samping |
        komplain {thing} disuruh sabar terus | bagus sekali, {thing} baru malah datang robek |
        +{thing} bekas pakai dijual baru""",
    context="""beli {thing} warna {color} ukuran {size} | pesan {num} {thing} buat {who} |
        beli {thing} {day} waktu promo | tinggi saya {body} pakai ukuran {size} |
        {thing} dipakai {day} ke acara {who} | order {thing} warna {color2} {day} | +kado {thing} buat {who}""",
    info="""{thing} tersedia warna {color} dan {color2} | ukuran {size} lebar dada {tens} senti |
        dikirim dari {city} {day} | harga {thing} waktu itu {price} | bahannya katun campuran |
        {thing} ukuran {size} panjangnya {tens} senti | minimal beli {num} | {thing} saya terima {day} |
        paket {thing} sampai {day} | +{thing} ini unisex""",
    questions="""{thing} ukuran {size} masih ada tidak | bisa tukar {size} ke {size2} tidak |
        {thing} warna {color} kapan restock | {thing} ini cocok untuk berat {tens} kilo | apa bisa kirim {day} |
        {thing} bahannya apa ya | bisa COD ke {city} tidak | {thing}nya luntur tidak kalau dicuci |
        lebih bagus {color} atau {color2} | +ada {thing} anak tidak""",
)

GADGET = Domain(
    things="HP | tablet | laptop | jam tangan pintar | kamera | proyektor | speaker | +konsol gim | +monitor",
    price="450 ribu | 600rb | 900 ribu | 1 juta | 1,5 juta | 2 juta | 3 juta | +750rb | +4 juta",
    subject="produk ini | barang ini | toko ini | seri ini | +gadget ini",
    act="beli di sini | belanja di toko ini | beli ini | order di sini | +ambil di toko ini",
    again="beli lagi | belanja di sini lagi | order lagi | beli merek ini lagi",
    other="merek lain | toko sebelah | versi sebelumnya | punya {who} | +seri lamanya",
    claim="di deskripsi | di iklan | versi lamanya | di kotaknya | kata reviewer",
    aspects=(
        Aspect(
            noun="baterainya | daya tahannya | pengisian dayanya | +cas-nya",
            pairs="awet/boros | tahan/drop | stabil/payah | cepat/lambat | bagus/soak | +irit/bocor",
            praise="tahan seharian | penuh dalam {num} jam | tidak panas walau dipakai lama | +kuat dibawa mudik",
            blame="cepat habis | menggelembung | {num} jam sudah mati | tidak mau ngisi",
            fact="isi {num} jam sampai penuh | tertulis {num} ribu mAh | lewat kabel tipe C | belum diuji lama",
        ),
        Aspect(
            noun="suaranya | bass-nya | mikrofonnya | speakernya",
            pairs="jernih/pecah | jelas/sember | kencang/pelan | bagus/jelek | halus/berisik | +empuk/cempreng",
            praise="serasa nonton konser | nendang | bening buat telepon | terdengar sampai luar rumah",
            blame="hidup sebelah | ada dengungnya | putus-putus | hilang sendiri setelah seminggu",
            fact="bisa diatur lewat tombol | ada {num} mode | stereo | keluar dari bawah",
        ),
        Aspect(
            noun="layarnya | gambarnya | hasil fotonya | tampilannya | +proyeksinya",
            pairs="tajam/buram | jernih/pecah | terang/redup | bagus/jelek | cerah/kusam | +mulus/goyang",
            praise="enak di mata | tetap bagus di tempat gelap | warnanya keluar | +setara barang mahal",
            blame="bergaris | ada titik hitam | kedip terus | retak dari sananya",
            fact="ukurannya {num} inci | pakai panel biasa | bisa diputar | warnanya agak kebiruan",
        ),
        Aspect(
            noun="performanya | {thing}nya | kinerja {thing}nya | kualitasnya | barangnya | +mesinnya",
            pairs="""kencang/lemot | bagus/rusak | awet/ringkih | mulus/lecet | responsif/lambat | stabil/error |
                +gesit/ngelag""",
            praise="sesuai deskripsi | original | bergaransi resmi | gampang dipakai | +melebihi harganya",
            blame="tidak berfungsi | mati total | cepat panas | barang KW | sering restart sendiri | +gampang macet",
            fact="warna {color} | beratnya {num} ons | bergaransi {num} bulan | sama seperti seri lama",
        ),
        SELLER,
        PACKAGING,
        SHIPPING,
    ),
    good_events="""{thing} sudah dipakai {num} bulan masih normal | {thing} langsung nyala waktu dicoba |
        dapat bonus kabel {num} meter | {thing} bermasalah langsung diganti baru | {who} ikut beli {thing} ini |
        {thing} lama pensiun gara-gara ini | {thing} jatuh {num} kali masih aman |
        +atur {thing} sendiri {num} menit beres""",
    bad_events="""baru {num} hari {thing} sudah mati | {thing} datang dalam keadaan pecah |
        klaim garansi {thing} dioper ke sana sini | pesan {thing} {color} yang datang {color2} |
        {num} minggu dipakai {thing} sudah tidak mau nyala | {thing} bekas dijual sebagai baru |
        kelengkapan {thing} kurang kabelnya | hebat, baru {num} kali pakai {thing} langsung jadi pajangan |
        dijanjikan {thing} baru yang datang rekondisi | +{thing} sudah servis {num} kali masih begitu""",
    context="""beli {thing} {day} | pesan {thing} warna {color} buat {who} | pakai {thing} ini buat kerja |
        {thing} ini dipakai {who} | beli {thing} pas promo {price} | sebelumnya pakai {thing} merek lain |
        ganti {thing} {day} | +{thing} ini hadiah dari {who}""",
    info="""garansi {thing} {num} bulan | isi paket {thing}, kabel, dan buku manual | {thing} dikirim dari {city} |
        {thing} tersedia warna {color} dan {color2} | harga {thing} {price} | beratnya sekitar {num} ons |
        {thing} sampai {day} | kabel bawaan {num} meter | {thing} sudah bisa dibeli di {city} |
        +{thing} pakai adaptor {tens} watt""",
    questions="""{thing} ini garansinya berapa bulan | {thing} bisa dipakai sambil dicas tidak |
        kabel {thing} dijual terpisah tidak | {thing} warna {color} ready tidak | cara reset {thing} bagaimana ya |
        beda {thing} ini dengan seri lama apa | {thing}nya cepat panas tidak |
        bagusan {thing} ini atau merek lain | +{thing} bisa dikirim ke {city}""",
)

APPLIANCE = Domain(
    things="""blender | setrika | kipas angin | rice cooker | dispenser | mixer | penanak nasi | +oven listrik |
        +penyedot debu""",
    price="120 ribu | 150rb | 180 ribu | 200rb | 250 ribu | 300 ribu | 400rb | +275 ribu",
    subject="produk ini | barang ini | alat ini | toko ini | +merek ini",
    act="beli ini | beli di sini | belanja di sini | pakai alat ini | +ganti ke alat ini",
    again="beli lagi | belanja di sini lagi | order lagi | pakai merek ini lagi",
    other="merek lain | alat lama saya | toko sebelah | punya {who} | +yang di pasar",
    claim="di iklan | di deskripsi | alat lama saya | kata penjualnya | punya {who}",
    aspects=(
        Aspect(
            noun="mesinnya | tenaganya | {thing}nya | kinerja {thing}nya | +motornya",
            pairs="""kuat/lemah | halus/berisik | cepat/lambat | awet/ringkih | bagus/rusak | stabil/panas |
                +bandel/manja""",
            praise="sesuai deskripsi | gampang dipakai | hemat listrik | sudah terbukti | +tidak rewel sama sekali",
            blame="tidak berfungsi | bau gosong | bikin kesetrum | sering mati sendiri | +bikin listrik turun",
            fact="dayanya {tens} watt | ada {num} tingkat kecepatan | buatan lokal | bergaransi {num} bulan",
        ),
        Aspect(
            noun="tombolnya | kabelnya | tutupnya | badannya | bahan {thing}nya | +gagangnya",
            pairs="kokoh/ringkih | kuat/longgar | tebal/tipis | rapi/kasar | bagus/cacat | +pas/goyang",
            praise="kelihatan mahal | gampang dibersihkan | tahan banting | +nyaman digenggam",
            blame="gampang patah | sudah retak | cepat karatan | meleleh {num} hari | +lepas sendiri",
            fact="warna {color} | panjangnya {num} meter | dari plastik | bisa dilepas",
        ),
        Aspect(
            noun="hasilnya | hasil kerjanya | hasil pakainya",
            pairs="memuaskan/mengecewakan | rapi/berantakan | bagus/buruk | merata/acak",
            praise="""seperti buatan profesional | di luar dugaan bagusnya | langsung kelihatan |
                +tidak kalah sama yang mahal""",
            blame="""tidak ada bedanya dengan manual | harus diulang {num} kali | setengah-setengah |
                jauh dari kata bagus""",
            fact="tergantung cara pakai | mirip alat lama | belum terlalu kelihatan | sesuai kelasnya",
        ),
        SELLER,
        PACKAGING,
        SHIPPING,
    ),
    good_events="""{thing} sudah {num} tahun belum pernah rusak | {thing} datang langsung dipakai {who} |
        {thing} penyok sedikit langsung diganti | {who} ikut pesan {thing} {num} |
        kerjaan dapur selesai {num} menit | tagihan listrik tidak naik sejak pakai {thing} ini |
        garansi {thing} diurus {num} hari beres | +{thing} dipakai jualan tiap hari masih kuat""",
    bad_events="""{thing} dicolok langsung keluar asap | baru {num} kali pakai {thing} sudah mati |
        {thing} datang kabelnya putus | klaim garansi {thing} ditolak | pesan {thing} yang datang {thing2} |
        {thing} dipakai {num} menit langsung panas | {num} minggu {thing} sudah masuk gudang |
        mantap, {thing} baru {num} hari sudah jadi rongsokan | servis {thing} lebih mahal dari harganya |
        +{who} hampir kesetrum {thing} ini""",
    context="""beli {thing} {day} buat {who} | {thing} ini dipakai tiap hari | pesan {thing} warna {color} |
        dapat {thing} pas promo {price} | {thing} lama rusak {day} | kado nikahan {who} |
        +{thing} ini dibeli patungan sama {who}""",
    info="""{thing} dayanya {tens} watt | garansi {thing} {num} bulan | {thing} tersedia warna {color} dan {color2} |
        harga {thing} {price} | {thing} dikirim dari {city} | isi kotaknya {thing} dan buku panduan |
        {thing} sampai {day} | kabelnya {num} meter | beratnya {num} kilo | +suku cadang {thing} ada di {city}""",
    questions="""{thing} ini berapa watt ya | suku cadang {thing} gampang dicari tidak |
        {thing} bisa untuk listrik 450 tidak | {thing} warna {color} masih ada |
        cara membersihkan {thing} bagaimana | garansi {thing} klaim di mana | {thing}nya berisik tidak |
        lebih awet {thing} ini atau merek lain | +{thing} bisa dikirim ke {city}""",
)

SKINCARE = Domain(
    things="serum | pelembap | tabir surya | sabun muka | toner | krim malam | masker wajah | +krim mata | +lip balm",
    price="25 ribu | 35rb | 50 ribu | 65 ribu | 80rb | 99 ribu | 120 ribu | +75rb | +145 ribu",
    subject="produk ini | {thing} ini | toko ini | merek ini | +skincare ini",
    act="beli ini | pakai ini | coba ini | beli di sini | +ikut-ikutan beli ini",
    again="beli lagi | pakai ini lagi | order lagi | +restock lagi",
    other="merek lain | {thing} lama saya | toko sebelah | yang di apotek | +punya {who}",
    claim="di iklan | kata ulasan | kemasan lamanya | kata {who} | di deskripsi",
    aspects=(
        Aspect(
            noun="teksturnya | {thing}nya | tekstur {thing}nya | formulanya | +kandungannya",
            pairs="ringan/berat | lembut/kasar | adem/perih | halus/lengket | nyaman/gatal | cocok/keras | +aman/panas",
            praise="cepat meresap | tidak bikin kusam | ramah kulit sensitif | bikin kenyal | +melembapkan seharian",
            blame="bikin breakout | bikin muka merah | bikin kering | susah dibilas | +memicu beruntusan",
            fact="berbentuk gel | dipakai pagi dan malam | untuk kulit kombinasi | isinya {tens} ml | berwarna {color}",
        ),
        Aspect(
            noun="hasilnya | efeknya | efek {thing}nya | +khasiatnya",
            pairs="nyata/nihil | kelihatan/percuma | bagus/buruk | cepat/lama | memuaskan/mengecewakan",
            praise="terasa dalam {num} minggu | bikin cerah alami | bikin bekas jerawat pudar | +dipuji teman kantor",
            blame="malah bikin jerawatan | tidak ada sama sekali | bikin kulit mengelupas | cuma janji manis",
            fact="tergantung jenis kulit | belum terlihat di minggu pertama | perlu dipakai rutin | beda tiap orang",
        ),
        Aspect(
            noun="wanginya | aromanya | +baunya",
            pairs="lembut/menyengat | segar/tengik | enak/aneh | kalem/norak",
            praise="tahan sampai sore | bikin rileks | tidak bikin pusing | +mirip parfum mahal",
            blame="seperti obat | bikin mual | hilang dalam {num} menit | kayak plastik terbakar",
            fact="mirip teh hijau | hampir tidak tercium | seperti mawar | netral tanpa pewangi",
        ),
        SELLER,
        PACKAGING,
        SHIPPING,
    ),
    good_events="""{num} minggu pakai {thing} ini jerawat mulai kempes |
        sudah habis {num} botol {thing} dan tetap cocok | {who} ikut pakai {thing} ini dan cocok |
        kedaluwarsa {thing} masih {num} tahun | flek di pipi memudar setelah {num} minggu |
        biasanya kulit saya rewel tapi {thing} ini aman | dapat diskon plus sampel {num} sachet |
        +pakai {thing} ini make up nempel seharian""",
    bad_events="""baru {num} hari pakai {thing} ini muka langsung merah |
        {num} minggu pakai {thing} malah jerawatan di dagu | isi {thing} cuma setengah botol |
        kedaluwarsa {thing} tinggal {num} bulan | dicek nomor BPOM {thing} tidak terdaftar |
        katanya {thing} original ternyata palsu | {num} botol {thing} habis tidak ada bedanya |
        komplain {thing} bocor disuruh kirim video {num} kali | +kulit {who} sampai harus ke dokter""",
    context="""kulit saya kombinasi | pakai {thing} ini rutin {num} minggu | beli {num} botol {thing} {day} |
        dapat rekomendasi {thing} dari {who} | umur saya {tens} | beli {thing} {day} waktu promo {price} |
        {thing} ini saya pakai tiap malam | +sebelumnya pakai krim dokter {num} bulan""",
    info="""{thing} isinya {tens} ml | {thing} dipakai pagi dan malam | kedaluwarsa {num} tahun lagi |
        {thing} tersedia ukuran {tens} ml | harga normal {thing} {price} | {thing} warna {color} |
        {thing} dikirim dari {city} | kandungan utamanya niacinamide {num} persen | {thing} sampai {day} |
        +{thing} cukup {num} tetes sekali pakai""",
    questions="""{thing} ini aman untuk ibu hamil tidak | {thing} boleh dipakai bareng retinol tidak |
        apakah {thing} cocok untuk umur {tens} | {thing} {tens} ml tahan berapa bulan |
        {thing} dipakai sebelum atau sesudah pelembap | {thing} ini bikin jerawat tidak |
        nomor BPOM {thing} berapa ya | hasilnya bagus tidak setelah {num} minggu | +{thing} untuk pria bisa tidak""",
)

APP = Domain(
    things="""fitur transfer | menu belanja | fitur pesan antar | fitur cicilan | menu tagihan | fitur tiket |
        +fitur tabungan""",
    price="seribu | 2 ribu | 2.500 | 5 ribu | 10rb | 20 ribu | 50rb | 100 ribu | +6.500",
    subject="aplikasi ini | app ini | layanan ini | +platform ini",
    act="pakai aplikasi ini | install ini | daftar di sini | transaksi di sini | +langganan di sini",
    again="pakai terus | install lagi | perpanjang langganan | transaksi di sini lagi",
    other="aplikasi sebelah | versi lama | aplikasi lain | versi web | +app saingannya",
    claim="versi lama | di iklan | yang dijanjikan | dulu | sebelum update",
    aspects=(
        Aspect(
            noun="aplikasinya | performanya | loading-nya | versi barunya | halaman pembayarannya | +animasinya",
            pairs="lancar/macet | ringan/berat | cepat/lemot | stabil/error | mulus/lambat | +gesit/ngelag",
            praise="jarang error | tetap jalan di HP kentang | hemat kuota | dibuka langsung jalan",
            blame="keluar sendiri | sering crash | bikin HP panas | makan memori | muter-muter terus",
            fact="ukurannya {tens} MB | butuh koneksi internet | diperbarui {day} | jalan di tablet juga",
        ),
        Aspect(
            noun="tampilannya | menunya | desainnya | halaman depannya | mode gelapnya | +navigasinya",
            pairs="simpel/ribet | rapi/berantakan | jelas/membingungkan | bagus/jelek | menarik/kaku | +lega/sumpek",
            praise="gampang dipahami orang tua | enak di mata | semua ada di satu tempat | +bisa diatur sesuka hati",
            blame="hurufnya kekecilan | penuh iklan | tombolnya tidak bisa dipencet | susah dicari",
            fact="berwarna {color} | ada {num} tab di bawah | mengikuti sistem HP | berubah sejak {day}",
        ),
        Aspect(
            noun="fiturnya | {thing}nya | promonya | vouchernya | notifikasinya | +program poinnya",
            pairs="berguna/percuma | praktis/ribet | jelas/menyesatkan | bagus/payah | +ampuh/menjebak",
            praise="membantu kerjaan saya | bikin hemat tiap bulan | selalu bertambah | +tidak ada di tempat lain",
            blame="tidak bisa dipakai | syaratnya tidak masuk akal | hilang setelah update | bikin kesal tiap hari",
            fact="berlaku sampai {day} | ada di menu pengaturan | khusus pengguna baru | dibatasi {num} kali sehari",
        ),
        Aspect(
            noun="CS-nya | layanan pelanggannya | respon pengaduannya | admin chat-nya | +tim bantuannya",
            pairs="cepat/lambat | ramah/kaku | tanggap/cuek | sopan/kasar | sigap/lelet | +solutif/berbelit",
            praise="menyelesaikan masalah dalam {num} menit | benar-benar membantu | bisa dihubungi 24 jam",
            blame="cuma menjawab kayak robot | tidak kasih solusi | tidak pernah balas email | saling lempar",
            fact="ada di menu bantuan | mulai {hour} | lewat email dan chat | meminta nomor HP",
        ),
        Aspect(
            noun="biaya adminnya | ongkos layanannya | harga langganannya | +potongannya",
            pairs="murah/mahal | wajar/keterlaluan | terjangkau/tinggi | ringan/mencekik | +transparan/siluman",
            praise="lebih hemat dari ke bank | sepadan dengan fiturnya | sering digratiskan | jelas dari awal",
            blame="naik diam-diam | dipotong tanpa izin | tidak sebanding dengan fiturnya | muncul mendadak",
            fact="{price} per transaksi | {price} per bulan | dibayar di awal | tergantung bank",
        ),
    ),
    good_events="""saldo masuk dalam hitungan detik | lupa sandi {num} menit langsung beres |
        sejak update {day} tidak pernah keluar sendiri | sudah {num} tahun pakai tanpa masalah |
        refund cair {num} jam | bayar listrik tinggal {num} klik | {who} yang gaptek saja bisa pakai {thing} |
        dapat cashback {price} dari {thing} | +cicilan {who} jadi tercatat rapi""",
    bad_events="""saldo {tens} ribu hilang tidak kembali | login gagal terus dari {day} |
        kode OTP tidak masuk sampai {num} jam | setelah update {day} tidak bisa dibuka |
        sudah transfer {tens} ribu statusnya masih pending | akun diblokir tanpa alasan {day} |
        iklan muncul tiap {num} detik | verifikasi KTP ditolak {num} kali |
        bagus ya, tiap gajian {thing} pasti error | refund dijanjikan {num} hari sampai sekarang nihil |
        +poin {tens} ribu hangus begitu saja""",
    context="""pakai aplikasi ini sejak {day} | install {day} karena disuruh {who} |
        saya pakai {thing} buat bayar tagihan | baru update {day} | HP saya keluaran {num} tahun lalu |
        {thing} dipakai buat kirim uang ke {who} | +saya pengguna gratisan""",
    info="""versi terbaru ukurannya {tens} MB | daftar pakai nomor HP dan KTP | biaya {thing} {price} |
        ada mode gelap di pengaturan | pembaruan terakhir {day} | minimal transaksi {price} |
        bisa masuk dengan sidik jari | batas transfer harian {num} juta | {thing} berlaku sampai {day} |
        {thing} ada di halaman depan | {thing} dan {thing2} sekarang digabung |
        +riwayat {thing} tersimpan {num} bulan""",
    questions="""cara ganti nomor HP bagaimana ya | kapan {thing} ada di tablet | bisa dipakai di {num} HP tidak |
        apakah {thing} kena biaya | kode promo {price} masukkan di mana | riwayat {thing} bisa dilihat tidak |
        kenapa {thing} minta KTP lagi | {thing} sering error tidak | minimal top up berapa |
        {thing} di mana ya sekarang | +bisa hapus akun permanen tidak""",
)

DELIVERY = Domain(
    things="""dokumen | baju | sepatu | makanan kering | kado | buku | suku cadang | oleh-oleh | kosmetik |
        +bibit tanaman | +gerabah""",
    price="8 ribu | 9rb | 10 ribu | 12 ribu | 15rb | 18 ribu | 22rb | +27 ribu",
    subject="ekspedisi ini | jasa kirim ini | kurir ini | layanan ini | +agen ini",
    act="kirim di sini | pakai ekspedisi ini | kirim paket lewat sini | +titip paket di sini",
    again="kirim lagi di sini | pakai ekspedisi ini lagi | pakai jasa ini lagi",
    other="ekspedisi lain | kurir sebelah | layanan reguler | agen di {city} | +kurir toko",
    claim="yang dijanjikan | di aplikasi | bulan lalu | kata agennya | dulu",
    aspects=(
        Aspect(
            noun="pengirimannya | proses kirimnya | kiriman ke {city} | layanan kilatnya | +jalur daratnya",
            pairs="cepat/lambat | tepat/telat | lancar/macet | bagus/payah | +kilat/molor",
            praise="lebih cepat dari jadwal | selalu tepat waktu | cuma {num} hari | +besoknya sudah beres",
            blame="tidak sampai-sampai | sering nyasar ke {city} | tertahan {num} minggu | tidak sesuai estimasi",
            fact="lewat gudang {city} | memakai layanan reguler | {num} hari kerja | tergantung jadwal kapal",
        ),
        Aspect(
            noun="paketnya | kondisi paketnya | paket {thing}nya | +isi paketnya",
            pairs="utuh/rusak | aman/penyok | rapi/berantakan | kering/basah | +mulus/sobek",
            praise="tidak lecet sedikit pun | sama seperti waktu dikirim | dibungkus ulang dengan baik",
            blame="hilang tanpa kabar | basah kuyup | pecah semua | +dibongkar orang",
            fact="diambil {day} | beratnya {num} kilo | isinya {thing} | dititipkan ke satpam",
        ),
        Aspect(
            noun="kurirnya | abang kurirnya | petugas agennya | sopirnya | +mas pengantarnya",
            pairs="ramah/jutek | sopan/kasar | jujur/ngeyel | sabar/galak | rajin/malas | +telaten/bandel",
            praise="""telepon dulu sebelum antar | rela naik ke lantai {num} | hujan-hujan tetap antar |
                mau menunggu sebentar""",
            blame="""melempar paket dari pagar | pura-pura sudah antar | minta uang tambahan |
                tidak mau turun dari motor""",
            fact="datang {day} | titip ke satpam | pakai motor {color} | minta foto penerima",
        ),
        Aspect(
            noun="resinya | pelacakannya | info statusnya | aplikasi lacaknya | +notifikasi paketnya",
            pairs="jelas/kacau | akurat/ngawur | lengkap/membingungkan | cepat/lambat | +rapi/amburadul",
            praise="diperbarui tiap jam | gampang dipantau | sesuai posisi paket | +ada foto buktinya",
            blame="""tidak pernah berubah dari {day} | tertulis diterima padahal belum | tidak bisa dilacak |
                salah alamat""",
            fact="dikirim lewat SMS | masih di gudang {city} | berisi {tens} angka | berubah jadi transit {day}",
        ),
        Aspect(
            noun="ongkirnya | tarifnya | biaya kirimnya | +biaya asuransinya",
            pairs="murah/mahal | wajar/keterlaluan | terjangkau/tinggi | hemat/mencekik",
            praise="pas buat usaha kecil | sering ada potongan | sudah termasuk asuransi | lebih murah {num} ribu",
            blame="dihitung lebih berat | naik tanpa kabar | tidak sebanding dengan layanannya | ditagih dua kali",
            fact="{price} per kilo | dihitung per volume | dibayar penerima | sama untuk seluruh {city}",
        ),
    ),
    good_events="""kirim {thing} {day} ke {city} {num} hari sudah sampai | {thing} {num} dus sampai utuh |
        salah alamat malah diantar ulang gratis | kirim {thing} ke {city} tidak pernah kurang |
        klaim {thing} cair {num} hari | {thing} dijemput ke rumah {num} menit setelah pesan |
        +tiap bulan kirim {thing} {tens} paket aman semua""",
    bad_events="""sudah {num} hari {thing} masih di {city} | paket isi {thing} sampai dalam keadaan hancur |
        status terkirim tapi {who} tidak terima | paket {thing} hilang dan klaim ditolak |
        {thing} dari {day} baru bergerak {num} hari | telepon kantor {city} {num} kali tidak diangkat |
        hebat sekali, {city} ke sebelah rumah butuh {num} minggu | paket {thing} dikembalikan tanpa konfirmasi |
        isi paket {thing} kurang {num} | +disuruh ambil {thing} sendiri ke gudang {city}""",
    context="""kirim {thing} ke {city} {day} | kirim {num} paket {thing} buat {who} | terima paket {thing} {day} |
        paket {thing} dari {who} di {city} | saya jualan {thing} online | pesan {thing} lewat marketplace {day} |
        +kirim {thing} {who} ke {city}""",
    info="""tarif ke {city} {price} per kilo | paket {thing} diterima {who} {day} | agen buka mulai {hour} |
        estimasi ke {city} {num} hari | paket transit di {city} {day} | berat maksimal {tens} kilo |
        {thing} dijemput {day} | nomor resi {thing} keluar {day} | {thing} dikirim dari {city} ke rumah {who} |
        +hari Minggu tidak ada pengantaran""",
    questions="""paket dari {city} biasanya berapa hari | bisa kirim {thing} tidak |
        hari Minggu antar ke {city} tidak | apa bisa ganti alamat ke {city} | ongkir {num} kilo ke {city} berapa |
        cara klaim asuransi {thing} bagaimana | kantor di {city} buka jam berapa |
        {thing} aman tidak ya kalau dikirim | kenapa {thing} saya transit di {city} |
        +ambil sendiri di gudang {city} bisa""",
)

DOMAINS = (RESTAURANT, HOTEL, FASHION, GADGET, APPLIANCE, SKINCARE, APP, DELIVERY)

# Sentence forms. {noun} is the aspect; {own} and {own2} are adjectives of the polarity that is meant, {opposite} is
# what answers {own}; {phrase} is a whole predicate of the polarity that is meant.
SIMPLE_CLAUSES = """{noun} {own} {very} | {noun} {own} {very} | {noun} {own} {very} | {noun} {own} | {noun} {phrase} |
    {noun} sangat {own} | {noun} memang {own} | {noun} {own} dan {own2} | {noun} {own} dan {own2} |
    {noun} {own} dan {phrase} | {noun} jauh lebih {own} dari {other}"""
SIMPLE_POLAR_CLAUSES = {
    "positive": """{noun} tidak {opposite} | {noun} tidak {opposite} sama sekali | {noun} nggak {opposite} kok |
        {noun} selalu {own} | {noun} {own}, tidak {opposite} | +{noun} jauh dari kata {opposite}""",
    "negative": """{noun} kurang {opposite} | {noun} kurang {opposite} | {noun} nggak {opposite} |
        {noun} tidak {opposite} | {noun} tidak {opposite}-{opposite} amat | {noun} agak {own} |
        {noun} tidak se{opposite} {claim} | +{noun} jauh dari kata {opposite}""",
}
CLAUSES = """{own} {very} {noun} | {noun} {own} {very}, {phrase} | menurut saya {noun} {own} {very} |
    {noun} lebih {own} daripada {other} | dulu {noun} {opposite}, sekarang {own} {very} |
    kirain {noun} bakal {opposite}, ternyata {own} | kata orang {noun} {opposite}, nyatanya {own} {very} |
    soal {noun}, {own} {very} | {noun} {own}, {own2} pula | untuk {noun} saya bilang {own} {very} |
    {noun} makin lama makin {own} | dibanding {other}, {noun} lebih {own} |
    +yang paling terasa itu {noun}, {own} {very} | +{noun} tergolong {own} |
    +takutnya {noun} {opposite} eh malah {own}"""
POLAR_CLAUSES = {
    "positive": """tidak menyangka {noun} {own} {very} | suka sama {noun}, {own} {very} |
        siapa bilang {noun} {opposite}, buktinya {own} | belum pernah dapat yang {opposite}, {noun} {own} terus |
        {other} tidak se{own} ini | tidak ada yang {opposite}, {noun} {own} {very} |
        mau cari yang {opposite} di {noun} tidak ketemu | +salut, {noun} tetap {own}""",
    "negative": """katanya {noun} {opposite}, ternyata {own} | sayang {noun} {own} {very} | kok {noun} {own} ya |
        coba {noun} lebih {opposite} sedikit | {noun} kurang {opposite} dan {own} |
        {noun} terlalu {own} buat saya | seandainya {noun} lebih {opposite} | {other} lebih {opposite} {noun} |
        jangan harap {noun} {opposite} | apanya yang {opposite}, {noun} {own} begitu |
        +dibilang {opposite} ya tidak, {noun} malah {own}""",
}
PLAIN_CLAUSES = """{noun} {fact} | {noun} {fact} | {noun} {fact} | {noun} biasa saja | {noun} standar |
    {noun} tidak {good} tapi juga tidak {bad} | {noun} ya begitulah | {noun} sama saja dengan {other} |
    {noun} rata-rata | {noun} antara {good} dan {bad} | {noun} kadang {good} kadang {bad} |
    {noun} tidak ada bedanya dengan {other} | soal {noun} saya belum bisa menilai |
    {noun} {good} atau {bad} itu selera | belum tahu {noun} {good} atau tidak |
    {noun} dibilang {good} tidak, dibilang {bad} juga tidak | +{noun} sedang-sedang saja |
    +{noun} tidak istimewa, tidak juga {bad}"""

VERDICTS = {
    "positive": """pasti {again} | puas {very} {act} | puas {act} | tidak menyesal {act} |
        {subject} recommended {very} | recommended {very} {act} | worth it {very} {subject} |
        mantap {very} {subject} | mantul pokoknya {subject} | {act} tidak mengecewakan |
        {subject} tidak pernah mengecewakan | bintang lima untuk {subject} | terima kasih {subject}, sukses terus |
        bakal {again} | {subject} wajib dicoba | jadi langganan {subject} | tidak rugi {act} |
        {subject} sesuai ekspektasi {very} | keren {very} {subject} | jempol buat {subject} |
        overall {subject} oke {very} | the best {subject} | tidak ada keluhan {act} | belum pernah kecewa {act} |
        {subject} patut dicoba | salut sama {subject} | senang {very} {act} | pokoknya tidak kapok {act} |
        semoga {subject} makin maju | worth it {act} | sama sekali tidak kecewa {act} | nggak sia-sia {act} |
        {subject} bukan zonk | bakal saya rekomendasikan {subject} ke {who} | top {very} {subject} |
        {who} juga puas {act} | kalau ada waktu mau {again} | +ketagihan {act} | +{subject} layak diacungi jempol |
        +juara deh {subject} | +bikin ingin {again}""",
    "negative": """kapok {act} | kapok {very} {act} | kecewa {very} {act} | kecewa {act} | menyesal {act} |
        {subject} tidak recommended | tidak akan {again} | cukup sekali {act} | zonk {act} |
        zonk {very} {subject} | tidak worth it {act} | rugi {act} | mending {other} saja | buang-buang uang {act} |
        buang waktu saja {act} | bintang satu untuk {subject} | tolong {subject} diperbaiki | jangan {act} |
        {subject} tidak sesuai ekspektasi | parah {very} {subject} | payah {subject} |
        mengecewakan {very} {subject} | {subject} mengecewakan | jauh dari ekspektasi {subject} |
        {act} cuma bikin emosi | tidak puas {act} | pikir dua kali sebelum {act} |
        mau kasih {subject} bintang nol kalau bisa | berharap lebih dari {subject} | tidak mau {again} |
        malas {again} | lebih puas di {other} | {who} juga kecewa {act} |
        {subject} tidak layak dapat bintang lima | terakhir kali {act} | semoga {subject} cepat berbenah |
        {subject} bukan recommended malah zonk | +ogah {again} | +ampun deh {subject} | +sia-sia {act} |
        +tidak tertarik {again}""",
    "neutral": """biasa saja {act} | {subject} biasa saja | {subject} standar saja | ya begitulah {subject} |
        tidak ada yang istimewa dari {subject} | sesuai harga saja {subject} | bintang tiga dulu untuk {subject} |
        lumayan lah {subject} | nanti saya update lagi soal {subject} | belum bisa menilai {subject} |
        netral saja soal {subject} | ada plus minusnya {act} | kesimpulannya {subject} standar |
        belum tahu mau {again} atau tidak | baru pertama {act} | belum sempat coba {subject} |
        sekadar info buat yang mau {act} | mohon infonya soal {subject} | bandingkan dulu dengan {other} |
        tidak kecewa {act}, tidak juga puas | {who} yang {act}, saya belum | mungkin {again}, mungkin ke {other} |
        puas {act} tidak, kecewa juga tidak | +so so {subject} | +b aja {act} | +belum ada komentar soal {subject}""",
}
BALANCED_VERDICTS = """ya biasa saja | standar lah {subject} | bintang tiga saja | impas | ada plus minusnya |
    tergantung selera | netral saja | lumayan | ya begitulah {subject} | tengah-tengah saja |
    {subject} ada lebih ada kurangnya | terserah mau {again} atau tidak | +fifty-fifty | +seri"""
# Readers would disagree about texts of these forms: they carry whichever label is to be written.
AMBIGUOUS = """{good_clause}, {bad_clause} | {bad_clause}, {good_clause} | {noun} lumayan {good} lah |
    oke lah {noun} | {noun} cukup {good} untuk harga segitu | {noun} {good} sih, ya {bad} juga |
    {noun} lumayan, tidak {good}-{good} amat | {good_clause} dan {bad_clause} | {noun} {good} kadang {bad}"""
# {major} decides, {minor} gives way.
TURNS = """{minor} tapi {major} | {minor}, tapi {major} | {minor} tetapi {major} | meskipun {minor}, {major} |
    walaupun {minor}, {major} | {minor} sih, cuma {major} | {minor}, sayangnya {major} |
    biar {minor}, tetap saja {major} | {major} walaupun {minor} | {major} meski {minor} |
    {minor}, untungnya {major} | +kendati {minor}, {major} | +{minor}, namun {major}"""
BALANCES = """{one} tapi {two}, jadi {verdict} | {one}, {two}, {verdict} | {verdict}, {one} tapi {two} |
    {one}, di sisi lain {two}, {verdict} | +plusnya {one}, minusnya {two}"""
OPENINGS = {
    "positive": "wah | alhamdulillah | asik | syukurlah | wow | +asyik nih",
    "neutral": "hmm | oh iya | btw | permisi | maaf | +numpang tanya",
    "negative": "duh | aduh | astaga | hadeh | yah | +ya salam",
    "any": "jujur | kak | gan | min | sis | btw | oke | ya ampun | hmm | gila | nah | sejujurnya | wow",
}

WORDS = {
    "very": "banget | banget | banget | sekali | sekali | sih | pol | banget sih | parah | deh | +maksimal | +abis",
    "num": "2 | 3 | 4 | 5 | 6 | 7 | dua | tiga | empat | lima | +9 | +delapan",
    "tens": "15 | 20 | 25 | 30 | 40 | 45 | 50 | 60 | dua puluh | tiga puluh | +35 | +lima puluh",
    "hour": "jam 6 pagi | jam 7 | jam 8 pagi | jam 9 | jam 10 pagi | pukul 7 pagi | +jam setengah tujuh",
    "day": """kemarin | minggu lalu | hari Sabtu | tadi siang | bulan lalu | tadi malam | hari Senin | akhir pekan |
        pas liburan | tanggal {date} | dua hari lalu | awal bulan | +lusa kemarin | +hari Jum'at""",
    "date": "3 | 5 | 8 | 11 | 14 | 17 | 20 | 22 | 27 | 30",
    "who": """keluarga | teman kantor | pacar | suami | istri | anak-anak | ibu saya | adik | teman kuliah | mertua |
        kakak | +sepupu | +tetangga""",
    "city": """Bandung | Surabaya | Medan | Semarang | Jogja | Makassar | Depok | Bekasi | Solo | Bogor | Denpasar |
        +Palembang | +Malang | +Pontianak""",
    "color": "hitam | putih | navy | merah | krem | abu-abu | cokelat | hijau | pink | +maroon | +lilac",
    "size": "S | M | L | XL | +XXL",
    "body": "150 | 155 | 158 | 160 | 165 | 170 | +172",
}

# What a positive or negative review is made of, and a neutral one: the parts in order, as Writer.sentence names them.
OPINIONS = """clause | verdict | clause clause | clause verdict | clause verdict | clause verdict | verdict clause |
    verdict clause | event verdict | clause clause clause | clause clause verdict | clause clause verdict |
    clause clause verdict | clause clause verdict | verdict clause clause | verdict clause clause |
    verdict clause clause | clause event verdict | event clause verdict | verdict event clause |
    context clause clause | context clause verdict | context clause verdict | context verdict clause |
    context event verdict | context clause clause verdict | context clause clause verdict |
    context clause clause verdict | context event clause verdict | clause clause clause verdict |
    clause clause clause verdict | clause clause verdict verdict | clause plain clause verdict |
    context plain clause verdict | info clause clause verdict | turn clause verdict | clause turn verdict |
    turn verdict | context clause turn verdict | context info clause clause turn verdict |
    context clause event clause verdict | turn clause clause verdict"""
REPORTS = """plain | info | ask | ask | verdict | balance | balance verdict | context info | context ask |
    plain plain | plain verdict | plain verdict | plain plain verdict | info info | context plain verdict |
    context plain plain | context info ask | info ask | context info plain | context info plain verdict |
    plain info | info plain verdict | context balance verdict | context plain plain verdict |
    context info info verdict | plain plain plain verdict"""

SLANG = {
    "tidak": "gak | nggak | ga | tdk | gk | enggak | tak | +ngga | +kagak",
    "nggak": "gak | ga | gk | +ngga",
    "yang": "yg",
    "dengan": "dgn | sama",
    "tapi": "tp | tpi",
    "banget": "bgt | bngt | bangett | +bgtt",
    "bagus": "bgs | baguss",
    "sudah": "udah | udh | sdh | dah",
    "saja": "aja | aj",
    "juga": "jg | jga",
    "karena": "krn | karna",
    "untuk": "utk | buat",
    "dari": "dr | dri",
    "barang": "brg",
    "barangnya": "brgnya | barangny",
    "sama": "sm | ama",
    "belum": "blm | belom | +blom",
    "bisa": "bs | bisaa",
    "saya": "aku | gue | sy | +gw",
    "kalau": "kalo | klo",
    "lebih": "lbh",
    "jangan": "jgn",
    "jauh": "jauhh | jau",
    "orang": "org",
    "lagi": "lg | lgi",
    "sampai": "sampe | smpe | nyampe",
    "kurang": "krg | kurg",
    "sekali": "skali | bgt",
    "pakai": "pake | pke",
    "seperti": "kayak | kyk",
    "cepat": "cepet | cpt",
    "tolong": "tlg | tlong",
    "semua": "smua | semuanya",
    "masih": "msh",
    "jadi": "jd | jdi",
    "hari": "hr",
    "dapat": "dpt | dapet",
    "pesan": "psn | pesen",
    "memang": "emang | emg | mmg",
    "ternyata": "trnyata | ternyataa | trnyt",
    "benar": "bener",
    "sekarang": "skrg | skrng",
    "kemarin": "kmrn | kemaren",
    "langsung": "lgsg | lgsung",
    "kecewa": "kcewa | kecewaa",
    "recommended": "recomended | rekomended | recommend | rekomen | +rekomen bgt",
    "mantap": "mantul | mantep | mantab",
    "malas": "males",
    "menyesal": "nyesel | nyesal",
    "harganya": "hrgnya | harganyaa",
    "pelayanannya": "pelayananya | plynannya | servisnya",
    "tempatnya": "tmptnya | tempatny",
    "makanannya": "makananny | mknannya",
    "pengirimannya": "pengirimanny | ngirimnya",
    "murah": "murce | mrh",
    "lumayan": "lumayann | lmyn",
    "menunggu": "nunggu",
    "cuma": "cm | cuman",
    "terima": "trima",
    "bagaimana": "gimana | gmn",
    "kenapa": "knp | napa",
    "berapa": "brp",
    "apakah": "apa | apkh",
    "aplikasi": "apk | apps",
}
EXPRESSIVE = """banget | sekali | enak | mantap | parah | bagus | kecewa | keren | puas | kapok | lama | suka |
    murah | mahal | cepat | lambat | ramah | jelek | rusak | bersih | kotor | wangi | bau | rapi | zonk | top |
    cantik | aman | lemot | adem | panas | gurih | hambar | lancar | nyaman | jutek | lelet"""
EMOJI = {
    "positive": "😍 | 👍 | 🔥 | ❤️ | 😊 | 🥰 | 👍👍 | ⭐⭐⭐⭐⭐ | 😋 | 💯 | +🤩",
    "neutral": "🤔 | 🙂 | 😐 | 👌 | +🤷",
    "negative": "😡 | 👎 | 😤 | 😞 | 🤦 | 👎👎 | 😠 | +🤮",
    "any": "🙏 | 😅 | 😂 | 😭 | 🙂 | 😁 | 🤣",
}


class Register(NamedTuple):
    """How carefully a review is typed: chances per word (slang) and per review (the rest)."""

    slang: float
    typo: float
    elongation: float
    emoji: float
    lower_case: float
    joins: str
    ends: str


REGISTERS = (
    Register(0.02, 0.03, 0.0, 0.04, 0.03, ". |. |. |; ", ".|.|.|.|!|"),
    Register(0.15, 0.08, 0.12, 0.15, 0.35, ". |, |. |! |.. ", ".|.|!||!!|..|"),
    Register(0.42, 0.18, 0.25, 0.30, 0.75, ", | |.. |... | |! ", "||..|!!!|...|~|!|"),
)


def items(listed: str) -> list[str]:
    """The items of a "|" list, the mark "+" of the held-out ones kept."""
    return [item.strip() for item in listed.split("|")]


def normalized(text: str) -> str:
    """`text` in lower case with every run of other than letters and digits made one blank."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def sentences(text: str) -> list[str]:
    """The normalized sentences of `text`, cut at ends of sentence that a blank or the end of the text follows."""
    return [key for part in re.split(r"[.!?;~]+(?:\s|$)", text) if (key := normalized(part))]


class Writer:
    """Plans and types reviews for one split: holds its random generator and whether it may use held-out items."""

    def __init__(self, rng: random.Random, held_out: bool) -> None:
        self.rng = rng
        self.held_out = held_out
        self.domain = RESTAURANT
        self.bound: dict[str, str] = {}
        self.judged: list[Aspect] = []

    def pick(self, listed: str, but: Container[str] = ()) -> str:
        """An item of a "|" list that is not in `but`.

        Where this split may use held-out items and the list has one, it is one with a chance of HELD_OUT_SHARE.
        """
        common = [item for item in items(listed) if not item.startswith("+") and item not in but]
        rare = [item[1:] for item in items(listed) if item.startswith("+") and item[1:] not in but]
        return self.rng.choice(rare if self.held_out and rare and self.rng.random() < HELD_OUT_SHARE else common)

    def start(self, domain: Domain) -> None:
        """Begin a review of `domain`: from here on {thing} and {subject} stand for the same words."""
        self.domain, self.judged = domain, []
        thing = self.pick(domain.things)
        self.bound = {"thing": thing, "thing2": self.pick(domain.things, but=[thing])}
        self.bound["subject"] = self.fill(self.pick(domain.subject))

    def fill(self, template: str, bound: dict[str, str] | None = None) -> str:
        """`template` with each {name} replaced, until none is left.

        A name stands for its entry in `bound`, else for what `start` bound, else for an item of the domain's list or of
        WORDS; {color2} stands for another item than the {color} before it.
        """
        bound = {**self.bound, **(bound or {})}
        used: set[str] = set()

        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name in bound:
                return bound[name]
            listed = getattr(self.domain, name, "") or WORDS[name.rstrip("2")]
            word = self.pick(listed, but=used if name.endswith("2") else ())
            used.add(word)
            return word

        while "{" in template:
            template = re.sub(r"\{(\w+)\}", replace, template)
        once = re.sub(r"\b(sih|memang)( \1)+\b", r"\1", " ".join(template.split()))
        return once.replace(" ,", ",")

    def judgement(self, aspect: Aspect, polarity: str) -> dict[str, str]:
        """What the names in a clause about `aspect` stand for, with `polarity` as the one that is meant."""
        pair = self.pick(aspect.pairs)
        first, second = pair.split("/"), self.pick(aspect.pairs, but=[pair]).split("/")
        own, opposite = (1, 0) if polarity == "negative" else (0, 1)
        return {
            "noun": self.pick(aspect.noun),
            "own": first[own],
            "own2": second[own],
            "opposite": first[opposite],
            "good": first[0],
            "bad": first[1],
            "phrase": self.pick(aspect.blame if polarity == "negative" else aspect.praise),
            "fact": self.pick(aspect.fact),
            "very": self.intensifier(),
        }

    def intensifier(self) -> str:
        return self.pick(WORDS["very"]) if self.rng.random() < 0.6 else ""

    def aspect(self) -> Aspect:
        """An aspect that this review has not judged yet; once it has judged all of them, it begins again."""
        left = [aspect for aspect in self.domain.aspects if aspect not in self.judged]
        if not left:
            left, self.judged = list(self.domain.aspects), []
        self.judged.append(self.rng.choice(left))
        return self.judged[-1]

    def clause(self, polarity: str) -> str:
        """A clause that judges one aspect, in any form."""
        if polarity == "neutral":
            forms = PLAIN_CLAUSES
        else:
            listed = (SIMPLE_CLAUSES, SIMPLE_POLAR_CLAUSES[polarity], CLAUSES, POLAR_CLAUSES[polarity])
            forms = self.rng.choices(listed, (66, 12, 14, 8))[0]
        return self.fill(self.pick(forms), self.judgement(self.aspect(), polarity))

    def opposed(self) -> tuple[str, str]:
        """A positive and a negative clause about two aspects, both in a simple form."""
        return self.simple_clause("positive"), self.simple_clause("negative")

    def simple_clause(self, polarity: str) -> str:
        forms = SIMPLE_POLAR_CLAUSES[polarity] if self.rng.random() < 0.2 else SIMPLE_CLAUSES
        return self.fill(self.pick(forms), self.judgement(self.aspect(), polarity))

    def turn(self, polarity: str) -> str:
        """Two opposed clauses in one sentence, the one of `polarity` carrying the weight."""
        good, bad = self.opposed()
        minor, major = (good, bad) if polarity == "negative" else (bad, good)
        barred = "{minor}, untungnya {major}" if polarity == "negative" else "{minor}, sayangnya {major}"
        return self.fill(self.pick(TURNS, but=[barred]), {"minor": minor, "major": major})

    def balance(self) -> str:
        """Two opposed clauses with a verdict that takes neither side."""
        one, two = good, bad = self.opposed()
        form = self.pick(BALANCES)
        if "plusnya" not in form and self.rng.random() < 0.4:
            one, two = bad, good
        return self.fill(form, {"one": one, "two": two, "verdict": self.pick(BALANCED_VERDICTS)})

    def ambiguous(self) -> str:
        good, bad = self.opposed()
        judged = self.judgement(self.aspect(), "positive")
        return self.fill(self.pick(AMBIGUOUS), {**judged, "good_clause": good, "bad_clause": bad})

    def sentence(self, part: str, label: str) -> str:
        """One planned sentence; `part` is a word of OPINIONS or REPORTS."""
        bad = label == "negative"
        listed = {
            "verdict": VERDICTS[label],
            "event": self.domain.bad_events if bad else self.domain.good_events,
            "context": self.domain.context,
            "info": self.domain.info,
            "ask": self.domain.questions,
        }
        if part in listed:
            return self.fill(self.pick(listed[part]), {"very": self.intensifier()}) + ("?" if part == "ask" else "")
        if part == "plain":
            return self.clause("neutral")
        if part == "clause":
            return self.clause(label)
        return self.turn(label) if part == "turn" else self.balance()

    def plan(self, label: str) -> list[str]:
        """The sentences of one review, before anyone types them."""
        self.start(self.rng.choice(DOMAINS))
        if self.rng.random() < AMBIGUOUS_SHARE:
            return [self.ambiguous()]
        parts = self.pick(REPORTS if label == "neutral" else OPINIONS).split()
        return [self.sentence(part, label) for part in parts]

    def roughen(self, planned: list[str], label: str) -> str:
        """The planned sentences as someone would type them; never with a tab, a line end or a double quote."""
        register = self.rng.choice(REGISTERS)
        if self.rng.random() < 0.12:
            opening = self.pick(OPENINGS[label if self.rng.random() < 0.5 else "any"])
            planned = [f"{opening}, {planned[0]}", *planned[1:]]
        lower_case = self.rng.random() < register.lower_case
        text = ""
        for number, sentence in enumerate(planned):
            typed = self.abbreviate(sentence, register.slang)
            last = number == len(planned) - 1
            mark = self.rng.choice((register.ends if last else register.joins).split("|"))
            if typed.endswith("?"):
                mark = self.rng.choice(["", "?", "??"]) if last else " "
                typed = typed[: -1 if self.rng.random() < register.slang else None]
            after_stop = not text or text.rstrip()[-1] in ".!?"
            text += (typed if lower_case or not after_stop else typed[0].upper() + typed[1:]) + mark
        text = self.misspell(text, register)
        if self.rng.random() < register.emoji:
            text += " " + self.pick(EMOJI["any" if self.rng.random() < 0.25 else label])
        chance = self.rng.random()
        if chance < 0.02:
            return text.upper()
        return text.lower() if lower_case and chance < 0.9 else text

    def abbreviate(self, sentence: str, chance: float) -> str:
        def replace(match: re.Match[str]) -> str:
            word = match[0]
            return self.pick(SLANG[word]) if word in SLANG and self.rng.random() < chance else word

        if self.rng.random() < chance:
            sentence = re.sub(r"\b(\w+)-\1\b", r"\g<1>2", sentence)
        return re.sub(r"[a-z]+", replace, sentence)

    def misspell(self, text: str, register: Register) -> str:
        """Swapped, dropped or doubled letters, an elongated last vowel, a word in capitals: each by chance."""
        words = text.split(" ")
        long_words = [at for at, word in enumerate(words) if len(word) > 4 and word.isalpha()]
        if not long_words:
            return text
        for _ in range(self.rng.choice([1, 1, 2]) if self.rng.random() < register.typo else 0):
            at = self.rng.choice(long_words)
            word, cut = words[at], self.rng.randrange(1, len(words[at]) - 2)
            swapped = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
            words[at] = self.rng.choice([swapped, word[:cut] + word[cut + 1 :], word[: cut + 1] + word[cut:]])
        expressive = [at for at, word in enumerate(words) if word.lower() in items(EXPRESSIVE)]
        if expressive and self.rng.random() < register.elongation:
            at = self.rng.choice(expressive)
            more = self.rng.randint(2, 4)
            words[at] = re.sub(r"([aeiou])(?=[^aeiou]*$)", lambda vowel: vowel[1] * more, words[at], count=1)
        if self.rng.random() < 0.04:
            at = self.rng.choice(long_words)
            words[at] = words[at].upper()
        return " ".join(words)


def write_reviews() -> dict[str, list[tuple[str, str]]]:
    """The (text, label) rows of each split, in the order of the files.

    The slots of all splits are filled in one shuffled order, and the first split to write a sentence keeps it: a review
    that would repeat another split's sentence, or a text of its own split, is planned anew.
    """
    rng = random.Random(SEED)
    slots = [
        (split, label)
        for split, size in SIZES.items()
        for label, share in CLASS_SHARES.items()
        for _ in range(round(size * share))
    ]
    rng.shuffle(slots)
    writers = {split: Writer(rng, held_out=split != "train") for split in SIZES}
    owner: dict[str, str] = {}
    texts: set[str] = set()
    rows: dict[str, list[tuple[str, str]]] = {split: [] for split in SIZES}
    for split, label in slots:
        while True:
            planned = writers[split].plan(label)
            text = writers[split].roughen(planned, label)
            whole = {normalized(" ".join(planned)), normalized(text)}
            keys = {*map(normalized, planned), *sentences(text), *whole}
            if not 2 <= len(text.split()) <= MAX_WORDS or any(owner.get(key, split) != split for key in keys):
                continue
            if whole & texts:
                continue
            break
        owner.update(dict.fromkeys(keys, split))
        texts |= whole
        rows[split].append((text, label))
    return rows


def main() -> None:
    SAMPLE_FOLDER.mkdir(parents=True, exist_ok=True)
    for split, rows in write_reviews().items():
        lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
        (SAMPLE_FOLDER / f"{split}.tsv").write_bytes(("\n".join(lines) + "\n").encode())


if __name__ == "__main__":
    main()
