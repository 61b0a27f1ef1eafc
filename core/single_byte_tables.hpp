// core/single_byte_tables.hpp: the characters of the encodings of one byte, as the Encoding Standard has them
// (https://encoding.spec.whatwg.org/#legacy-single-byte-encodings). Private to core. Rests on nothing. Below 0x80 each
// of them is ASCII; a table says what the upper 128 bytes are, so that a reader can see what he knows: the characters
// themselves but for those that are not seen or are written from right to left.
#pragma once

#include <cstddef>

namespace weir::detail {

struct single_byte_table {
  /// In `text`, which is for the bytes from 0x80 on, '=' is the character of the byte's own number, and '.' none.
  consteval explicit single_byte_table(const char16_t (&text)[129]) {
    for (std::size_t i = 0; i < 128; ++i) {
      const auto same = static_cast<char16_t>(0x80 + i);
      upper[i] = text[i] == u'=' ? same : text[i] == u'.' ? none : text[i];
    }
  }

  /// The 128 characters from `first` on.
  consteval explicit single_byte_table(char16_t first) {
    for (std::size_t i = 0; i < 128; ++i) upper[i] = static_cast<char16_t>(first + i);
  }

  static constexpr char16_t none = 0xfffd;

  char16_t upper[128] = {};
};

// clang-format off
inline constexpr single_byte_table ibm866(
    u"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    u"абвгдежзийклмноп░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
    u"└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
    u"рстуфхцчшщъыьэюяЁёЄєЇїЎў°∙·√№¤■\u00a0");
inline constexpr single_byte_table iso_8859_2(
    u"================================"
    u"=Ą˘Ł¤ĽŚ§¨ŠŞŤŹ=ŽŻ°ą˛ł´ľśˇ¸šşťź˝žż"
    u"ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
    u"ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙");
inline constexpr single_byte_table iso_8859_3(
    u"================================"
    u"=Ħ˘£¤.Ĥ§¨İŞĞĴ=.Ż°ħ²³´µĥ·¸ışğĵ½.ż"
    u"ÀÁÂ.ÄĊĈÇÈÉÊËÌÍÎÏ.ÑÒÓÔĠÖ×ĜÙÚÛÜŬŜß"
    u"àáâ.äċĉçèéêëìíîï.ñòóôġö÷ĝùúûüŭŝ˙");
inline constexpr single_byte_table iso_8859_4(
    u"================================"
    u"=ĄĸŖ¤ĨĻ§¨ŠĒĢŦ=Ž¯°ą˛ŗ´ĩļˇ¸šēģŧŊžŋ"
    u"ĀÁÂÃÄÅÆĮČÉĘËĖÍÎĪĐŅŌĶÔÕÖ×ØŲÚÛÜŨŪß"
    u"āáâãäåæįčéęëėíîīđņōķôõö÷øųúûüũū˙");
inline constexpr single_byte_table iso_8859_5(
    u"================================"
    u"=ЁЂЃЄЅІЇЈЉЊЋЌ=ЎЏАБВГДЕЖЗИЙКЛМНОП"
    u"РСТУФХЦЧШЩЪЫЬЭЮЯабвгдежзийклмноп"
    u"рстуфхцчшщъыьэюя№ёђѓєѕіїјљњћќ§ўџ");
inline constexpr single_byte_table iso_8859_6(
    u"================================"
    u"=...¤.......،=.............\u061b...\u061f"
    u".\u0621\u0622\u0623\u0624\u0625\u0626\u0627\u0628\u0629\u062a\u062b\u062c\u062d\u062e\u062f\u0630\u0631\u0632"
    u"\u0633\u0634\u0635\u0636\u0637\u0638\u0639\u063a....."
    u"\u0640\u0641\u0642\u0643\u0644\u0645\u0646\u0647\u0648\u0649\u064a\u064b\u064c\u064d\u064e\u064f\u0650\u0651"
    u"\u0652.............");
inline constexpr single_byte_table iso_8859_7(
    u"================================"
    u"=‘’£€₯¦§¨©ͺ«¬=.―°±²³΄΅Ά·ΈΉΊ»Ό½ΎΏ"
    u"ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ.ΣΤΥΦΧΨΩΪΫάέήί"
    u"ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ.");
inline constexpr single_byte_table iso_8859_8(
    u"================================"
    u"=.¢£¤¥¦§¨©×«¬=®¯°±²³´µ¶·¸¹÷»¼½¾."
    u"...............................‗"
    u"\u05d0\u05d1\u05d2\u05d3\u05d4\u05d5\u05d6\u05d7\u05d8\u05d9\u05da\u05db\u05dc\u05dd\u05de\u05df\u05e0\u05e1"
    u"\u05e2\u05e3\u05e4\u05e5\u05e6\u05e7\u05e8\u05e9\u05ea..\u200e\u200f.");
inline constexpr single_byte_table iso_8859_10(
    u"================================"
    u"=ĄĒĢĪĨĶ§ĻĐŠŦŽ=ŪŊ°ąēģīĩķ·ļđšŧž―ūŋ"
    u"ĀÁÂÃÄÅÆĮČÉĘËĖÍÎÏÐŅŌÓÔÕÖŨØŲÚÛÜÝÞß"
    u"āáâãäåæįčéęëėíîïðņōóôõöũøųúûüýþĸ");
inline constexpr single_byte_table iso_8859_13(
    u"================================"
    u"=”¢£¤„¦§Ø©Ŗ«¬=®Æ°±²³“µ¶·ø¹ŗ»¼½¾æ"
    u"ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß"
    u"ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž’");
inline constexpr single_byte_table iso_8859_14(
    u"================================"
    u"=Ḃḃ£ĊċḊ§Ẁ©ẂḋỲ=®ŸḞḟĠġṀṁ¶ṖẁṗẃṠỳẄẅṡ"
    u"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏŴÑÒÓÔÕÖṪØÙÚÛÜÝŶß"
    u"àáâãäåæçèéêëìíîïŵñòóôõöṫøùúûüýŷÿ");
inline constexpr single_byte_table iso_8859_15(
    u"================================"
    u"=¡¢£€¥Š§š©ª«¬=®¯°±²³Žµ¶·ž¹º»ŒœŸ¿"
    u"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß"
    u"àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ");
inline constexpr single_byte_table iso_8859_16(
    u"================================"
    u"=ĄąŁ€„Š§š©Ș«Ź=źŻ°±ČłŽ”¶·žčș»ŒœŸż"
    u"ÀÁÂĂÄĆÆÇÈÉÊËÌÍÎÏĐŃÒÓÔŐÖŚŰÙÚÛÜĘȚß"
    u"àáâăäćæçèéêëìíîïđńòóôőöśűùúûüęțÿ");
inline constexpr single_byte_table koi8_r(
    u"─│┌┐└┘├┤┬┴┼▀▄█▌▐░▒▓⌠■∙√≈≤≥\u00a0⌡°²·÷"
    u"═║╒ё╓╔╕╖╗╘╙╚╛╜╝╞╟╠╡Ё╢╣╤╥╦╧╨╩╪╫╬©"
    u"юабцдефгхийклмнопярстужвьызшэщчъ"
    u"ЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ");
inline constexpr single_byte_table koi8_u(
    u"─│┌┐└┘├┤┬┴┼▀▄█▌▐░▒▓⌠■∙√≈≤≥\u00a0⌡°²·÷"
    u"═║╒ёє╔ії╗╘╙╚╛ґў╞╟╠╡ЁЄ╣ІЇ╦╧╨╩╪ҐЎ©"
    u"юабцдефгхийклмнопярстужвьызшэщчъ"
    u"ЮАБЦДЕФГХИЙКЛМНОПЯРСТУЖВЬЫЗШЭЩЧЪ");
inline constexpr single_byte_table macintosh(
    u"ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü"
    u"†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø"
    u"¿¡¬√ƒ≈∆«»…\u00a0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ"
    u"‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uf8ffÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ");
inline constexpr single_byte_table windows_874(
    u"€====…===========‘’“”•–—========"
    u"=\u0e01\u0e02\u0e03\u0e04\u0e05\u0e06\u0e07\u0e08\u0e09\u0e0a\u0e0b\u0e0c\u0e0d\u0e0e\u0e0f\u0e10\u0e11\u0e12"
    u"\u0e13\u0e14\u0e15\u0e16\u0e17\u0e18\u0e19\u0e1a\u0e1b\u0e1c\u0e1d\u0e1e\u0e1f"
    u"\u0e20\u0e21\u0e22\u0e23\u0e24\u0e25\u0e26\u0e27\u0e28\u0e29\u0e2a\u0e2b\u0e2c\u0e2d\u0e2e\u0e2f\u0e30\u0e31"
    u"\u0e32\u0e33\u0e34\u0e35\u0e36\u0e37\u0e38\u0e39\u0e3a....\u0e3f"
    u"\u0e40\u0e41\u0e42\u0e43\u0e44\u0e45\u0e46\u0e47\u0e48\u0e49\u0e4a\u0e4b\u0e4c\u0e4d\u0e4e\u0e4f\u0e50\u0e51"
    u"\u0e52\u0e53\u0e54\u0e55\u0e56\u0e57\u0e58\u0e59\u0e5a\u0e5b....");
inline constexpr single_byte_table windows_1250(
    u"€=‚=„…†‡=‰Š‹ŚŤŽŹ=‘’“”•–—=™š›śťžź"
    u"=ˇ˘Ł¤Ą¦§¨©Ş«¬=®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż"
    u"ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
    u"ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙");
inline constexpr single_byte_table windows_1251(
    u"ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—=™љ›њќћџ"
    u"=ЎўЈ¤Ґ¦§Ё©Є«¬=®Ї°±Ііґµ¶·ё№є»јЅѕї"
    u"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    u"абвгдежзийклмнопрстуфхцчшщъыьэюя");
inline constexpr single_byte_table windows_1252(
    u"€=‚ƒ„…†‡ˆ‰Š‹Œ=Ž==‘’“”•–—˜™š›œ=žŸ"
    u"=¡¢£¤¥¦§¨©ª«¬=®¯°±²³´µ¶·¸¹º»¼½¾¿"
    u"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß"
    u"àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ");
inline constexpr single_byte_table windows_1253(
    u"€=‚ƒ„…†‡=‰=‹=====‘’“”•–—=™=›===="
    u"=΅Ά£¤¥¦§¨©.«¬=®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ"
    u"ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡ.ΣΤΥΦΧΨΩΪΫάέήί"
    u"ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώ.");
inline constexpr single_byte_table windows_1254(
    u"€=‚ƒ„…†‡ˆ‰Š‹Œ====‘’“”•–—˜™š›œ==Ÿ"
    u"=¡¢£¤¥¦§¨©ª«¬=®¯°±²³´µ¶·¸¹º»¼½¾¿"
    u"ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß"
    u"àáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ");
inline constexpr single_byte_table windows_1255(
    u"€=‚ƒ„…†‡ˆ‰=‹=====‘’“”•–—˜™=›===="
    u"=¡¢£₪¥¦§¨©×«¬=®¯°±²³´µ¶·¸¹÷»¼½¾¿"
    u"\u05b0\u05b1\u05b2\u05b3\u05b4\u05b5\u05b6\u05b7\u05b8\u05b9\u05ba\u05bb\u05bc\u05bd\u05be\u05bf\u05c0\u05c1"
    u"\u05c2\u05c3\u05f0\u05f1\u05f2\u05f3\u05f4......."
    u"\u05d0\u05d1\u05d2\u05d3\u05d4\u05d5\u05d6\u05d7\u05d8\u05d9\u05da\u05db\u05dc\u05dd\u05de\u05df\u05e0\u05e1"
    u"\u05e2\u05e3\u05e4\u05e5\u05e6\u05e7\u05e8\u05e9\u05ea..\u200e\u200f.");
inline constexpr single_byte_table windows_1256(
    u"€\u067e‚ƒ„…†‡ˆ‰\u0679‹Œ\u0686\u0698\u0688\u06af‘’“”•–—\u06a9™\u0691›œ\u200c\u200d\u06ba"
    u"=،¢£¤¥¦§¨©\u06be«¬=®¯°±²³´µ¶·¸¹\u061b»¼½¾\u061f"
    u"\u06c1\u0621\u0622\u0623\u0624\u0625\u0626\u0627\u0628\u0629\u062a\u062b\u062c\u062d\u062e\u062f\u0630\u0631"
    u"\u0632\u0633\u0634\u0635\u0636×\u0637\u0638\u0639\u063a\u0640\u0641\u0642\u0643"
    u"à\u0644â\u0645\u0646\u0647\u0648çèéêë\u0649\u064aîï\u064b\u064c\u064d\u064eô\u064f\u0650÷\u0651ù\u0652ûü\u200e"
    u"\u200f\u06d2");
inline constexpr single_byte_table windows_1257(
    u"€=‚=„…†‡=‰=‹=¨ˇ¸=‘’“”•–—=™=›=¯˛="
    u"=.¢£¤.¦§Ø©Ŗ«¬=®Æ°±²³´µ¶·ø¹ŗ»¼½¾æ"
    u"ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß"
    u"ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙");
inline constexpr single_byte_table windows_1258(
    u"€=‚ƒ„…†‡ˆ‰=‹Œ====‘’“”•–—˜™=›œ==Ÿ"
    u"=¡¢£¤¥¦§¨©ª«¬=®¯°±²³´µ¶·¸¹º»¼½¾¿"
    u"ÀÁÂĂÄÅÆÇÈÉÊË\u0300ÍÎÏĐÑ\u0309ÓÔƠÖ×ØÙÚÛÜƯ\u0303ß"
    u"àáâăäåæçèéêë\u0301íîïđñ\u0323óôơö÷øùúûüư₫ÿ");
inline constexpr single_byte_table x_mac_cyrillic(
    u"АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
    u"†°Ґ£§•¶І®©™Ђђ≠Ѓѓ∞±≤≥іµґЈЄєЇїЉљЊњ"
    u"јЅ¬√ƒ≈∆«»…\u00a0ЋћЌќѕ–—“”‘’÷„ЎўЏџ№Ёёя"
    u"абвгдежзийклмнопрстуфхцчшщъыьэю€");
// clang-format on

/// The last 128 characters of a block for private use, so that no byte is lost.
inline constexpr single_byte_table x_user_defined(0xf780);

}  // namespace weir::detail
