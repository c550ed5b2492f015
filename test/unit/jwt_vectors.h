// SPDX-License-Identifier: Apache-2.0
// Tokens that another program made (PyJWT 2.6.0 with Python's cryptography), one for each algorithm, and the public
// keys that belong to them. The private keys are gone. Claims:
//   {"iss": "https://issuer.example", "sub": "alice", "aud": ["shop", "bank"], "azp": "till", "iat": 170
//   0000000, "nbf": 1700000000, "exp": 1900000000, "role": "admin", "level": 7, "org": {"unit": "north"}}
#pragma once

#include <string_view>

namespace underpass::test {

inline constexpr std::string_view kPyJwtKeys = R"({
 "keys": [
  {
   "kty": "RSA",
   "kid": "rsa",
   "use": "sig",
   "n": "q8ZhgVWp-5HniZB2ADTeSYivXJWTt-CxCo0om3GoMZuT9oVVYbeE62HDjY-TZL-2ToqjmGnvflYOkH1qkcorHLNOnAyjzDZhUnz3MWBGksf4vRRpEgp7n6iY5Q-p22rXZjgXoh6dLs6R-TNt7hfzC7Q_STqNxjmDQWlLN-I9inFFriOOIkHaTt4m4JVT--PTpM-7ZZTz9JiAI0vMCgZd_lXA5CXU8Yb6s8wmJeJQ7aYMqzYYp-_LE00PbOQdDDIAQWGO8DDEquBb6BLAPeL5W6s0csbksurXqse0EidwOcbPvospkSh6Vb4012l-m9n-R4l2PhL8cbp-SJnIXNIlmQ",
   "e": "AQAB"
  },
  {
   "kty": "EC",
   "kid": "p256",
   "crv": "P-256",
   "x": "OXY9VyB2KXBrFcNqrDofBlLvDv8ELhjgn2YAVb99WOQ",
   "y": "k3pyrJ7z3i-FvbcXTeszCwud6lx6zOB45V7JSbonAMw"
  },
  {
   "kty": "EC",
   "kid": "p384",
   "crv": "P-384",
   "x": "Imx9Mj0COkBnUB3GEOp_ZCRIvYDOYA2JP9ie8r2sZ3utQQ33A8p9WoqnWu4css4J",
   "y": "E6thOP4XhILlpa0lvmAwx4ufvzGCypICfMyS5w_lrqNJYg67gwGvDoDOQqb9uJQ6"
  },
  {
   "kty": "EC",
   "kid": "p521",
   "crv": "P-521",
   "x": "AB8GrsGwhkqPA2MR6VMiFyKYYWQDUpH2G-jP3hUypDlVVHTwWGFcHseaNBXFc8Ac6FBJbS43KP7ABRp4VolqGpZQ",
   "y": "APRA7PjELQemAmU30yuNOam6v1gL3xYysYGX7csyWtZOgYVwfZGFVt_KNf7ummoOZEIiqL-p7Vxhx-xOXCOp_acP"
  },
  {
   "kty": "OKP",
   "kid": "ed25519",
   "crv": "Ed25519",
   "x": "a_RydG8RflZPJTW8BLkb2TOjImHx4GA0C_8vqLHadUc"
  },
  {
   "kty": "OKP",
   "kid": "ed448",
   "crv": "Ed448",
   "x": "vM4SroLzMuYA4tgIh2ekdMQI8gRBZnL0aYoUsnsJzn8_ZKqDwViMxN34fq9LsWVM_2kK8dOnqJKA"
  }
 ]
})";

struct PyJwtToken {
  std::string_view algorithm;
  std::string_view kid;
  std::string_view token;
};

inline constexpr PyJwtToken kPyJwtTokens[] = {
    {.algorithm = "RS256",
     .kid = "rsa",
     .token = "eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.a1kAa3"
              "5rl1-1IFHoE1YJcBF3ZrOQWJbth9uzzc5MDTeHfnZJKy-q5UXXlpJnZ-9KdhooUhG7v4F5iW1WiL_ZjWEkBTvE5XZF8O5wNtenSH"
              "-iKpCPiWuSebtyvdw3J7zQyM9UDeN2087ylPScbg_cPwF7GfguqR7ZSCtWZQ2tpzTvuMpIexQsBgVm95JOqUBP_wq4argMdOyBMs"
              "rPMi4Pjxp3FaY6iyrzJoXjYK8fdr_-onQg26-m6enu-BvM-qCC4V4ue6palD4u22Yrlj7hsHbWY4gm3JQr4dSBozKp5QmO068ZSJ"
              "ogpwEfpWvznXf4do9-L1lmDMmg2f5zaWa7rg"},
    {.algorithm = "RS384",
     .kid = "rsa",
     .token = "eyJhbGciOiJSUzM4NCIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.SsSyWn"
              "3aypKBknp2b2DvFd7bOglghrSl1BJVO2CzE2Z2XcUCbv5LGf011DbvKHpn0PPO17XsJP_enyTCV2VO_RiCZ3ihRWd_NnMMGVABzf"
              "12_kzlw1MGsyycts-p2-m7wLSJNKyOCaYCs6CQMq0LLUOjVTKWIq_p1cRRXOFEWp0izykfvlnCCjdqVM9mUB7Wbsp6zNgeHPunAl"
              "MNvCAKo9IV0LgYwOwkLW60Dpy8TLeM4my-N12YstKUJ_uPVKldrrYtq0wIGoGr_RhmBtBPdiifdYTQW9_jUBVSUUm_xotYdwbFM9"
              "x3V1otBoA0J30nLw_AzJswfYOfeCp4l40udw"},
    {.algorithm = "RS512",
     .kid = "rsa",
     .token = "eyJhbGciOiJSUzUxMiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.jqdTnj"
              "ePWh7n0eLTcLSBtNfVJJ2ljXAb9iA2aA5etwZ376zCAjt_vlgt9lpAySCSG2aGcivEHo3KWLYPFuwqRJPwOxsCZ7EgHXDkhKAx-x"
              "a_Bl0vHQylA3SqvgHp-tlTPGIklRv8Cn9C0GpqfxG9nDcjrgCXn7ek3sTKWF7pPbRh4e_HCj-K4Bli4akNMleruS8aqs8XoRVMMR"
              "ktQt5Pzq9J5rtYLYj3vlb29Fju4A8Hd7sd8ciQvF5py2NBiEx29VqopJ_QRHvNwAnn7-e_fktJGOpXSGqNLfpCn0p2kzDKh7YmCg"
              "DksQwyBYPPmBHR8RWaoRyHhglM8Ou94g4cGQ"},
    {.algorithm = "PS256",
     .kid = "rsa",
     .token = "eyJhbGciOiJQUzI1NiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.jhy5PG"
              "C-WkN5XYTEjq68-_d3fcr_SkGCRGSxSsUrt0TQiSIojOMl8l8qn3OPGyNj-noosVArpZpJKJ7LstGolO5rq249zf8iMt6OxCa8sD"
              "OUAptjktkXnF1HOlyf4aC0HttG7Y7Z3p_8mfCUp6NPYVy3mhh5-7pNKAlXmloBuwSWiL8Wb5_p26JVuTwqYGH_SUBCqjHLEk5DJW"
              "t6YduGfsnFBIE8GUuaLpZpUeOeOXvjrriPqtWJzARnSr6CgypSv2_SunfccVGWL55MKWcJekZko2qQPb6gz5q2H-H6ENurVg9w-4"
              "flMFZV5lhPqC6Z7fGWszePw0mhOTsm4IjMzA"},
    {.algorithm = "PS384",
     .kid = "rsa",
     .token = "eyJhbGciOiJQUzM4NCIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.SjBXTE"
              "VrEH8JGXjUsdHlEONviwfKaNF6T2dMK_1111Md7SNHtcFmrVadx9CRALOZVrHGuGBh-hCmH-JfadOVXO83rlON7jPmzBJf9ZZ6XY"
              "iVnhoC5y1v1lCj5zblgtyZAI9n2j_mZiRpqarf2MxlpBZxxt-9ztYp1A6Ip54yi6MBaDZdt3vXOR-O4ct4hlFF2x9VzirbCsA8wi"
              "C4VoaTA8vqxW3dnYPKRY9SKDAmWtMH4LzDgG0JRQ0Q_DJe8rnQG4IOq-GfphW78pXRnBRnG0KgpKgEJ4cRLcPl5q_jSz12ozpkZn"
              "Bkg8kN9W4UFt7TQbC3KYJ0R0Xt10xUTeQzeg"},
    {.algorithm = "PS512",
     .kid = "rsa",
     .token = "eyJhbGciOiJQUzUxMiIsImtpZCI6InJzYSIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic3V"
              "iIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwMDA"
              "wMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.onY5bi"
              "ndWeA4kPg46EIlDSzHHMxiQMpIRsSOa8HfjOEst2yoLYx6QVeSPw9y0_Md4HEyxd2NteTb0_cjL65TJLNVtGaOSZKzkm5mkSsc_p"
              "JGr6HBX-8kEXk9cZ_XqwIUvre2ZrOb3VPY317ZVZuOaHMco3y8WZTJlKbGe6z3BRY8_-bCvpu2-TCtDzbQ32MGCAz4to0gV32J5G"
              "zNpsZucBqaSVxzUV5eaeYKTsWwnuD_dkwsCOyZ9oA7QV_uZg-p_u-5wCtttanyvQ6hzV67H9BvDhddxIrQ3JrppFFtdJiHOwGuIU"
              "Lh-KbQOaEBDo8kwA3kNQ4Cqeq1eGuaCpLwdg"},
    {.algorithm = "ES256",
     .kid = "p256",
     .token = "eyJhbGciOiJFUzI1NiIsImtpZCI6InAyNTYiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic"
              "3ViIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwM"
              "DAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.4zTI"
              "MD_VeGyCJcsv4RTARAungSSa4KmeyzRjbMQ6OjVJ4bGVZXSbfQqLioj4cPummkKCnA5-9WEKT_JnXhX5KA"},
    {.algorithm = "ES384",
     .kid = "p384",
     .token = "eyJhbGciOiJFUzM4NCIsImtpZCI6InAzODQiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic"
              "3ViIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwM"
              "DAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.dPjq"
              "Df0BwOezLEE4roLSwzDLp9dkIZzf_AQ7kiufzEqKjcilzFcIntKl41iuRa951Q47r2Dd9MFIXSRLqN6CwgwLxwbxu_YpwW83qAyM"
              "6WqrPARLFD-9fbrIywR1aWZu"},
    {.algorithm = "ES512",
     .kid = "p521",
     .token = "eyJhbGciOiJFUzUxMiIsImtpZCI6InA1MjEiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwic"
              "3ViIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAwM"
              "DAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.AaCP"
              "ZK9GoVBsWAlimvbeaEWDtLoPC4u1GVqLrFTJucqqpipQILFIUFczNNkdTYBgsE3Ma8Q5fVcbVHApuCTgQDctAH4DwEfif8J0Sgt2"
              "oDIn_daPeX4LX7Wq2iLzqmSbKBRvpWHEgxF1zxZnLW8F3wQGaPz5IMEn1EAsEoqeS6rAbMyt"},
    {.algorithm = "EdDSA",
     .kid = "ed25519",
     .token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkMjU1MTkiLCJ0eXAiOiJKV1QifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlI"
              "iwic3ViIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxN"
              "zAwMDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19."
              "GMFDYP8yGxhiO1pFkkdAuN55X_-lVDuGBKV4kawoRiC6Vd_l4qigQSVrjjiexjlLNX67exToYlYwf1P_Z3vvDQ"},
    {.algorithm = "EdDSA",
     .kid = "ed448",
     .token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImVkNDQ4IiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIiwi"
              "c3ViIjoiYWxpY2UiLCJhdWQiOlsic2hvcCIsImJhbmsiXSwiYXpwIjoidGlsbCIsImlhdCI6MTcwMDAwMDAwMCwibmJmIjoxNzAw"
              "MDAwMDAwLCJleHAiOjE5MDAwMDAwMDAsInJvbGUiOiJhZG1pbiIsImxldmVsIjo3LCJvcmciOnsidW5pdCI6Im5vcnRoIn19.RXD"
              "Zkiz2b7O8Yxhno27ftTEW8OAtcsYdgecitB5Q9-j78e-j6WlffaNT4LP_QXqNjc8pRFG7b3yAa22f7w5PhSJW9kCHiIjKvXYAEvN"
              "hE7MbPEWstU4sOSKdv1Kj-DLFeKtCsdQx_G2xwAjsASN1iBsA"},
};

}  // namespace underpass::test
