import { message, SDP, SHORT_SDP, type TortureMessage } from './message.ts';

const many = (text: string, times: number): string => text.repeat(times);

const MULTIPART = [
  '--7a9cbec02ceef655', 'Content-Type: text/plain', 'Content-Transfer-Encoding: binary', '', 'Hello', '--7a9cbec02ceef655',
  'Content-Type: application/octet-stream', 'Content-Transfer-Encoding: binary', '', '0%%82%%01R%%06%%09*%%86H%%86%%F7%%0D%%01%%07%%02', '--7a9cbec02ceef655--',
];

/** RFC 4475 §3.1.1: messages that are right, however strange they look. */
export const VALID: TortureMessage[] = [
  message('3.1.1.1', 'wsinv', 'a short tortuous INVITE', 'silence', [
    'INVITE sip:vivekg@chair-dnrc.example.com;unknownparam SIP/2.0',
    'TO :', ' sip:vivekg@chair-dnrc.example.com ;   tag    = 1918181833n',
    'from   : "J Rosenberg \\\\\\""       <sip:jdrosen@example.com>', '  ;', '  tag = 98asjd8',
    'MaX-fOrWaRdS: 0068', 'Call-ID: wsinv.ndaksdj@192.0.2.1', 'Content-Length   : @length', 'cseq: 0009', '  INVITE',
    'Via  : SIP  /   2.0', ' /UDP', '    192.0.2.2;branch=390skdjuw', 's :', 'NewFangledHeader:   newfangled value', ' continued newfangled value',
    'UnknownHeaderWithUnusualValue: ;;,,;;,;', 'Content-Type: application/sdp', 'Route:', ' <sip:services.example.com;lr;unknownwith=value;unknown-no-value>',
    'v:  SIP  / 2.0  / TCP     spindle.example.com   ;', '  branch  =   z9hG4bK9ikj8  ,', ' SIP  /    2.0   / UDP  192.168.255.111   ; branch=', ' z9hG4bK30239',
    'm:"Quoted string \\"\\"" <sip:jdrosen@example.com> ; newparam =', '      newvalue ;', '  secondparam ; q = 0.33',
  ], SDP),
  message('3.1.1.2', 'intmeth', 'a wide range of valid characters', 'silence', [
    '!interesting-Method0123456789_*+`.%indeed\'~ sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn\'t-it)@example.com SIP/2.0',
    'Via: SIP/2.0/UDP host1.example.com;branch=z9hG4bK-.!%66*_+`\'~',
    'To: "BEL:\\%%07 NUL:\\%%00 DEL:\\%%7F" <sip:1_unusual.URI~(to-be!sure)&isn\'t+it$/crazy?,/;;*@example.com>',
    'From: token1~` token2\'+_ token3*%!.- <sip:mundane@example.com>;fromParam\'\'~+*_!.-%="%%D1%%80%%D0%%B0%%D0%%B1%%D0%%BE%%D1%%82%%D0%%B0%%D1%%8E%%D1%%89%%D0%%B8%%D0%%B9";tag=_token~1\'+`*%!-.',
    'Call-ID: intmeth.word%ZK-!.*_+\'@word`~)(><:\\/"][?}{',
    'CSeq: 139122385 !interesting-Method0123456789_*+`.%indeed\'~', 'Max-Forwards: 255',
    'extensionHeader-!.%*+_`\'~:%%EF%%BB%%BF%%E5%%A4%%A7%%E5%%81%%9C%%E9%%9B%%BB', 'Content-Length: 0',
  ]),
  message('3.1.1.3', 'esc01', 'valid use of the % escaping mechanism', 404, [
    'INVITE sip:sips%3Auser%40example.com@example.net SIP/2.0', 'To: sip:%75se%72@example.com', 'From: <sip:I%20have%20spaces@example.net>;tag=938',
    'Max-Forwards: 87', 'i: esc01.239409asdfakjkn23onasd0-3234', 'CSeq: 234234 INVITE', 'Via: SIP/2.0/UDP host5.example.net;branch=z9hG4bKkdjuw',
    'C: application/sdp', 'Contact:', '  <sip:cal%6Cer@host5.example.net;%6C%72;n%61me=v%61lue%25%34%31>', 'Content-Length: @length',
  ], SDP),
  message('3.1.1.4', 'escnull', 'escaped nulls in URIs', 405, [
    'REGISTER sip:example.com SIP/2.0', 'To: sip:null-%00-null@example.com', 'From: sip:null-%00-null@example.com;tag=839923423', 'Max-Forwards: 70',
    'Call-ID: escnull.39203ndfvkjdasfkq3w4otrq0adsfdfnavd', 'CSeq: 14398234 REGISTER', 'Via: SIP/2.0/UDP host5.example.com;branch=z9hG4bKkdjuw',
    'Contact: <sip:%00@host5.example.com>', 'Contact: <sip:%00%00@host5.example.com>', 'L:0',
  ]),
  message('3.1.1.5', 'esc02', '% when it is not an escape', 'silence', [
    'RE%47IST%45R sip:registrar.example.com SIP/2.0', 'To: "%Z%45" <sip:resource@example.com>', 'From: "%Z%45" <sip:resource@example.com>;tag=f232jadfj23',
    'Call-ID: esc02.asdfnqwo34rq23i34jrjasdcnl23nrlknsdf', 'Via: SIP/2.0/TCP host.example.com;branch=z9hG4bK209%fzsnel234', 'CSeq: 29344 RE%47IST%45R',
    'Max-Forwards: 70', 'Contact: <sip:alias1@host1.example.com>', 'C%6Fntact: <sip:alias2@host2.example.com>', 'Contact: <sip:alias3@host3.example.com>', 'l: 0',
  ]),
  message('3.1.1.6', 'lwsdisp', 'no white space between display name and <', 200, [
    'OPTIONS sip:user@example.com SIP/2.0', 'To: sip:user@example.com', 'From: caller<sip:caller@example.com>;tag=323', 'Max-Forwards: 70',
    'Call-ID: lwsdisp.1234abcd@funky.example.com', 'CSeq: 60 OPTIONS', 'Via: SIP/2.0/UDP funky.example.com;branch=z9hG4bKkdjuw', 'l: 0',
  ]),
  message('3.1.1.7', 'longreq', 'long values in header fields', 404, [
    'INVITE sip:user@example.com SIP/2.0', `To: "I have a user name of ${many('extreme', 10)} proportion"`, `<sip:user@example.com:6000;unknownparam1=very${many('long', 20)}value;longparam${many('name', 25)}=shortvalue;very${many('long', 25)}ParameterNameWithNoValue>`.replace(/^/, ' '),
    `F: sip:${many('amazinglylongcallername', 5)}@example.net;tag=12${many('982', 50)}424;unknownheaderparam${many('name', 20)}=unknowheaderparam${many('value', 15)};unknownValueless${many('paramname', 10)}`,
    `Call-ID: longreq.one${many('really', 20)}longcallid`, 'CSeq: 3882340 INVITE', `Unknown-${many('Long', 20)}-Name: unknown-${many('long', 20)}-value; unknown-${many('long', 20)}-parameter-name = unknown-${many('long', 20)}-parameter-value`,
    'Via: SIP/2.0/TCP sip33.example.com', 'v: SIP/2.0/TCP sip32.example.com', ...Array.from({ length: 29 }, (_, i) => `V: SIP/2.0/TCP sip${31 - i}.example.com`),
    `Via: SIP/2.0/TCP sip1.example.com;received=192.0.2.5;branch=very${many('long', 50)}branchvalue`, 'Max-Forwards: 70',
    `Contact: <sip:${many('amazinglylongcallername', 5)}@host5.example.net>`, 'Content-Type: application/sdp', 'l: @length',
  ], SDP),
  message('3.1.1.8', 'dblreq', 'extra trailing octets in a UDP datagram', 405, [
    'REGISTER sip:example.com SIP/2.0', 'To: sip:j.user@example.com', 'From: sip:j.user@example.com;tag=43251j3j324', 'Max-Forwards: 8',
    'I: dblreq.0ha0isndaksdj99sdfafnl3lk233412', 'Contact: sip:j.user@host.example.com', 'CSeq: 8 REGISTER', 'Via: SIP/2.0/UDP 192.0.2.125;branch=z9hG4bKkdjuw23492', 'Content-Length: 0',
  ], [
    'INVITE sip:joe@example.com SIP/2.0', 't: sip:joe@example.com', 'From: sip:caller@example.net;tag=141334', 'Max-Forwards: 8', 'Call-ID: dblreq.0ha0isnda977644900765@192.0.2.15',
    'CSeq: 8 INVITE', 'Via: SIP/2.0/UDP 192.0.2.15;branch=z9hG4bKkdjuw380234', 'Content-Type: application/sdp', 'Content-Length: 150', '', ...SHORT_SDP,
  ]),
  message('3.1.1.9', 'semiuri', 'semicolon-separated parameters in the user part', 200, [
    'OPTIONS sip:user;par=u%40example.net@example.com SIP/2.0', 'To: sip:j_user@example.com', 'From: sip:caller@example.org;tag=33242', 'Max-Forwards: 3',
    'Call-ID: semiuri.0ha0isndaksdj', 'CSeq: 8 OPTIONS', 'Accept: application/sdp, application/pkcs7-mime,', '        multipart/mixed, multipart/signed,', '        message/sip, message/sipfrag',
    'Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKkdjuw', 'l: 0',
  ]),
  message('3.1.1.10', 'transports', 'varied and unknown transport types', 200, [
    'OPTIONS sip:user@example.com SIP/2.0', 'To: sip:user@example.com', 'From: <sip:caller@example.com>;tag=323', 'Max-Forwards: 70', 'Call-ID:  transports.kijh4akdnaqjkwendsasfdj',
    'Accept: application/sdp', 'CSeq: 60 OPTIONS', 'Via: SIP/2.0/UDP t1.example.com;branch=z9hG4bKkdjuw', 'Via: SIP/2.0/SCTP t2.example.com;branch=z9hG4bKklasjdhf',
    'Via: SIP/2.0/TLS t3.example.com;branch=z9hG4bK2980unddj', 'Via: SIP/2.0/UNKNOWN t4.example.com;branch=z9hG4bKasd0f3en', 'Via: SIP/2.0/TCP t5.example.com;branch=z9hG4bK0a9idfnee', 'l: 0',
  ]),
  message('3.1.1.11', 'mpart01', 'a multipart MIME message', 405, [
    'MESSAGE sip:kumiko@example.org SIP/2.0', 'Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK-d87543-4dade06d0bdb11ee-1--d87543-;rport', 'Max-Forwards: 70', 'Route: <sip:127.0.0.1:5080>',
    'Identity: r5mwreLuyDRYBi/0TiPwEsY3rEVsk/G2WxhgTV1PF7hHuL', 'Identity-Info: <https://example.com/cert>;alg=rsa-sha1', 'Contact: <sip:fluffy@127.0.0.1:5070>', 'To: <sip:kumiko@example.org>',
    'From: <sip:fluffy@example.com>;tag=2fb0dcc9', 'Call-ID: mpart01.3d9485ad0c49859b@Zmx1ZmZ5LW1hYy0xNi5sb2NhbA..', 'CSeq: 1 MESSAGE', 'Content-Transfer-Encoding: binary',
    'Content-Type: multipart/mixed;boundary=7a9cbec02ceef655', 'Date: Sat, 15 Oct 2005 04:44:56 GMT', 'User-Agent: SIPimp.org/0.2.5 (curses)', 'Content-Length: @length',
  ], MULTIPART),
  message('3.1.1.12', 'unreason', 'an unusual reason phrase, in a response to nothing', 'silence', [
    'SIP/2.0 200 = 2**3 * 5**2 %%D0%%BD%%D0%%BE %%D1%%81%%D1%%82%%D0%%BE', 'Via: SIP/2.0/UDP 192.0.2.198;branch=z9hG4bK1324923', 'Call-ID: unreason.1234ksdfak3j2erwedfsASdf', 'CSeq: 35 INVITE',
    'From: sip:user@example.com;tag=11141343', 'To: sip:user@example.edu;tag=2229', 'Content-Length: @length', 'Content-Type: application/sdp', 'Contact: <sip:user@host198.example.com>',
  ], SHORT_SDP),
  message('3.1.1.13', 'noreason', 'an empty reason phrase, in a response to nothing', 'silence', [
    'SIP/2.0 100 ', 'Via: SIP/2.0/UDP 192.0.2.105;branch=z9hG4bK2398ndaoe', 'Call-ID: noreason.asndj203insdf99223ndf', 'CSeq: 35 INVITE', 'From: <sip:user@example.com>;tag=39ansfi3',
    'To: <sip:user@example.edu>;tag=902jndnke3', 'Content-Length: 0', 'Contact: <sip:user@host105.example.com>',
  ]),
];
